"""How far behind each customer is: what the ledger has in flight, and what still waits in its raw stream."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from sqlalchemy import Engine

import db.accounting.books
import db.accounting.lag
from db.accounting.lag import DepositLatency
from db.clock import now_us
from db.customers.rows import Customer
from db.engine import read
from streams import Broker, decode_envelope, raw
from streams.errors import StreamEnds, StreamMissing, UnfitMessage
from webapp.accounting.books import OFFSETS_AT_ONCE, Books, stream_ends

US = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerLag:
    """One customer: batches not yet deposited, the age of the oldest, and the pace of the last seconds.

    `oldest_s` is None when nothing waits. `latency` is from accepted to committed, None when nothing was
    deposited in the seconds looked at.
    """

    customer: Customer
    batches: int
    windows: int
    oldest_s: float | None
    batches_per_s: float
    events_per_s: float
    latency: DepositLatency | None
    balanced: bool


def lags(
    engine: Engine, broker: Broker, customers: Sequence[Customer], *, seconds: float, deadline_s: float
) -> list[CustomerLag]:
    """The lags of these customers, looking back over so many seconds.

    Raises db.errors.DatabaseUnavailable, streams.errors.BrokerUnavailable.
    """
    with read(engine) as connection:
        now = now_us(connection)
        ledgers = db.accounting.books.ledgers(connection)
        found = {lag.customer_id: lag for lag in db.accounting.lag.lag(connection, now, seconds=seconds)}

    def one(customer: Customer) -> CustomerLag:
        lag = found[customer.id]
        ends = stream_ends(broker, customer.slug, deadline_s=deadline_s)
        books = Books(customer=customer, ledger=ledgers[customer.id], ends=ends)
        waiting = _oldest_waiting(broker, books, deadline_s) if books.undispatched else None
        oldest = min((at for at in (lag.oldest_accepted_at, waiting) if at is not None), default=None)
        return CustomerLag(
            customer=customer,
            batches=books.in_flight,
            windows=lag.windows,
            oldest_s=None if oldest is None else max(0.0, (now - oldest) / US),
            batches_per_s=lag.deposited_batches / seconds,
            events_per_s=lag.deposited_events / seconds,
            latency=lag.latency,
            balanced=not books.differences(),
        )

    with ThreadPoolExecutor(OFFSETS_AT_ONCE) as pool:
        return list(pool.map(one, customers))


def _oldest_waiting(broker: Broker, books: Books, deadline_s: float) -> int | None:
    """When the batch at the cursor was accepted, µs; None when it cannot be told."""
    offset = books.ledger.next_offset + books.gone_undispatched
    try:
        messages = broker.read(raw(books.customer.slug), offset, offset, deadline_s=deadline_s)
        return decode_envelope(messages[0].data).accepted_at_us if messages else None
    except (StreamMissing, StreamEnds, UnfitMessage):
        return None

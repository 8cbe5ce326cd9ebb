"""How far behind each customer is: what the ledger has in flight, and what still waits in its raw stream."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

from sqlalchemy import Engine

import db.accounting.books
import db.accounting.lag
from db.accounting.books import LedgerCounts
from db.accounting.lag import DepositLatency, Lag
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


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerLags:
    """What the ledger knows of the lag of every customer, by id, at `now_us`, of the `seconds` before it."""

    now_us: int
    seconds: float
    books: Mapping[int, LedgerCounts]
    lags: Mapping[int, Lag]

    def of(self, customer: Customer) -> CustomerLag | None:
        """Without what waits in the raw stream; None for a customer that came after the look."""
        if customer.id not in self.lags or customer.id not in self.books:
            return None
        lag, books = self.lags[customer.id], self.books[customer.id]
        return CustomerLag(
            customer=customer,
            batches=books.in_flight,
            windows=lag.windows,
            oldest_s=self._age_s(lag.oldest_accepted_at),
            batches_per_s=lag.deposited_batches / self.seconds,
            events_per_s=lag.deposited_events / self.seconds,
            latency=lag.latency,
            balanced=not books.differences(),
        )

    def with_stream(self, broker: Broker, customer: Customer, *, deadline_s: float) -> CustomerLag | None:
        """With what waits in the raw stream. Raises streams.errors.BrokerUnavailable."""
        known = self.of(customer)
        if known is None:
            return None
        ends = stream_ends(broker, customer.slug, deadline_s=deadline_s)
        books = Books(customer=customer, ledger=self.books[customer.id], ends=ends)
        waiting = _oldest_waiting(broker, books, deadline_s) if books.undispatched else None
        ages = [age for age in (known.oldest_s, self._age_s(waiting)) if age is not None]
        return replace(
            known,
            batches=books.in_flight,
            oldest_s=max(ages, default=None),
            balanced=not books.differences(),
        )

    def _age_s(self, at_us: int | None) -> float | None:
        return None if at_us is None else max(0.0, (self.now_us - at_us) / US)


def ledger_lags(engine: Engine, *, seconds: float) -> LedgerLags:
    """Look at the ledger once, back over so many seconds. Raises db.errors.DatabaseUnavailable."""
    with read(engine) as connection:
        now = now_us(connection)
        return LedgerLags(
            now_us=now,
            seconds=seconds,
            books=db.accounting.books.ledgers(connection),
            lags={lag.customer_id: lag for lag in db.accounting.lag.lag(connection, now, seconds=seconds)},
        )


def lags(
    known: LedgerLags, broker: Broker, customers: Sequence[Customer], *, deadline_s: float
) -> list[CustomerLag]:
    """The lags of these customers, with what waits in their raw streams right after the look at the ledger.

    Raises streams.errors.BrokerUnavailable.
    """
    with ThreadPoolExecutor(OFFSETS_AT_ONCE) as pool:
        found = pool.map(lambda one: known.with_stream(broker, one, deadline_s=deadline_s), customers)
        return [one for one in found if one is not None]


def _oldest_waiting(broker: Broker, books: Books, deadline_s: float) -> int | None:
    """When the batch at the cursor was accepted, µs; None when it cannot be told."""
    offset = books.ledger.next_offset + books.gone_undispatched
    try:
        messages = broker.read(raw(books.customer.slug), offset, offset, deadline_s=deadline_s)
        return decode_envelope(messages[0].data).accepted_at_us if messages else None
    except (StreamMissing, StreamEnds, UnfitMessage):
        return None

"""Where is my batch: the ledger's answer, and the raw stream's for what was not dispatched yet."""

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import Engine

import db.accounting.receipts
import db.ledger.dispatch
from db.accounting.receipts import Receipt
from db.customers.rows import Customer
from db.engine import read
from streams import Broker, Envelope, decode_envelope, raw
from streams.errors import StreamEnds, StreamMissing, UnfitMessage

SLICE = 64
"""Batches read at once; at most so many bodies are in memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WaitingBatch:
    """A batch behind the cursor; `accepted_at` in µs."""

    batch_id: str
    stream_offset: int
    accepted_at: int


def find(
    engine: Engine, broker: Broker, customer: Customer, batch_id: str, *, deadline_s: float, look_at: int
) -> Receipt | WaitingBatch | None:
    """The batch's receipt, where it waits, or None when nobody knows it.

    Looks at `look_at` waiting batches at most. Raises db.errors.DatabaseUnavailable,
    streams.errors.BrokerUnavailable.
    """
    with read(engine) as connection:
        receipt = db.accounting.receipts.find(connection, customer.id, batch_id)
        cursor = db.ledger.dispatch.position(connection, customer.id).next_offset
    if receipt is not None:
        return receipt
    for offset, envelope in _waiting(broker, customer.slug, cursor, look_at, deadline_s):
        if envelope.batch_id == batch_id:
            return WaitingBatch(batch_id=batch_id, stream_offset=offset, accepted_at=envelope.accepted_at_us)
    return None


def _waiting(
    broker: Broker, slug: str, cursor: int, look_at: int, deadline_s: float
) -> Iterator[tuple[int, Envelope]]:
    stream = raw(slug)
    try:
        end = broker.last_offset(stream, deadline_s=deadline_s)
        last = min(-1 if end is None else end, cursor + look_at - 1)
        for first in range(cursor, last + 1, SLICE):
            for message in broker.read(stream, first, min(first + SLICE - 1, last), deadline_s=deadline_s):
                try:
                    yield message.offset, decode_envelope(message.data)
                except UnfitMessage:
                    continue
    except (StreamMissing, StreamEnds):
        return

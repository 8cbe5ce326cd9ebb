"""Proof of the books against the stream itself: it is read again, batch by batch, up to the cursor.

Held against each other: every offset lies in exactly one window; an offset that is not skipped holds the
first batch of its id, and the ledger booked that id there, with that digest and in that window; an offset
that is skipped holds a repeat, a discarded batch, or one that is in quarantine.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sqlalchemy import Connection, Engine

import db.coverage
import db.dispatch
import db.pruning
from db.clock import now_us
from db.coverage import Booked
from db.customers import Customer
from db.engine import read
from streams import Broker, Chunk, Envelope, decode_envelope, raw
from streams.errors import Unavailable, UnfitMessage
from webapp.books import stream_ends
from webapp.proof import Covering, Proof

CREDIT = 1
"""Chunks in memory at once."""


def verify(
    engine: Engine,
    broker: Broker,
    customer: Customer,
    proof: Proof,
    *,
    remember_days: int,
    deadline_s: float,
    progress: Callable[[int, int], None],
) -> None:
    """Fill the proof; `progress` is told offsets done and offsets due.

    Holds one read transaction and a chunk of the stream at a time.
    Raises db.errors.Unavailable, streams.errors.Unavailable (also when nothing comes for `deadline_s`).
    """
    with read(engine) as connection:
        position = db.dispatch.position(connection, customer.id)
        # After the ledger, so that the stream is never behind it by chance.
        ends = stream_ends(broker, customer.slug, deadline_s=deadline_s)
        end = 0 if ends is None or ends.last is None else ends.last + 1
        proof.cursor = position.next_offset
        proof.first_offset = min(position.next_offset, (ends.first or 0) if ends else 0)
        if ends is None:
            proof.differs(f"there is no stream {raw(customer.slug)}")
        elif end < proof.cursor:
            proof.differs(f"the cursor is at {proof.cursor}, but the stream ends at {end}")
        if position.generation:
            proof.differs("the stream was replaced: windows of before cannot be told from those of after")
            return
        pruned = db.coverage.windows_pruned(connection, customer.id)
        covering = Covering(db.coverage.spans(connection, customer.id, proof.first_offset), proof, pruned)
        # The same snapshot for windows and ids: a window that is split meanwhile must not look like a
        # difference.
        check = _Check(connection, customer, proof, remember_days)
        due = min(end, proof.cursor)
        for chunk in _chunks(broker, customer.slug, proof.first_offset, due, deadline_s):
            check.chunk(chunk, due, covering)
            progress(chunk.first_offset + len(chunk.messages) - proof.first_offset, due - proof.first_offset)
        covering.finish()


def _chunks(broker: Broker, slug: str, first: int, due: int, deadline_s: float) -> Iterator[Chunk]:
    """The chunks that hold the offsets from `first` to below `due`."""
    if first >= due:
        return
    subscription = broker.follow(raw(slug), first, credit=CREDIT)
    try:
        while True:
            chunks = subscription.take()
            if not chunks and not broker.wait(deadline_s):
                raise Unavailable(f"nothing came of {raw(slug)} for {deadline_s:g} s")
            for chunk in chunks:
                yield chunk
                subscription.done(chunk)
                if chunk.first_offset + len(chunk.messages) >= due:
                    return
    finally:
        subscription.close()


class _Check:
    """Holds a chunk's batches against windows and booked ids."""

    def __init__(self, connection: Connection, customer: Customer, proof: Proof, remember_days: int) -> None:
        self._connection = connection
        self._customer = customer
        self._proof = proof
        self._quarantined_from = db.coverage.quarantine_pruned_below(connection, customer.id)
        self._remembered_from = db.pruning.remembered_from(connection, customer.id, now_us(), remember_days)

    def chunk(self, chunk: Chunk, due: int, covering: Covering) -> None:
        envelopes = [
            (offset, _envelope(message))
            for offset, message in enumerate(chunk.messages, chunk.first_offset)
            if offset < due
        ]
        last = chunk.first_offset + len(envelopes) - 1
        ids = [envelope.batch_id for _, envelope in envelopes if envelope is not None]
        booked = db.coverage.booked(self._connection, self._customer.id, ids)
        held = db.coverage.quarantined(self._connection, self._customer.id, chunk.first_offset, last)
        for offset, envelope in envelopes:
            self._proof.read += 1
            span = covering.at(offset)
            if span is None:
                continue
            if offset in span.skipped:
                self._skipped(offset, envelope, booked, held)
            elif envelope is None:
                self._proof.differs(f"offset {offset} is in window {span.window_id}, but is no envelope")
            else:
                self._worked_on(offset, envelope, booked.get(envelope.batch_id), span.window_id)

    def _skipped(
        self, offset: int, envelope: Envelope | None, booked: dict[str, Booked], held: set[int]
    ) -> None:
        proof = self._proof
        proof.skipped += 1
        if offset in held or (envelope is not None and envelope.discarded):
            return
        if envelope is None:
            if offset < self._quarantined_from:
                proof.unprovable += 1
            else:
                proof.differs(f"offset {offset} is no envelope, but not in quarantine")
            return
        first = booked.get(envelope.batch_id)
        name = f"offset {offset} (batch {envelope.batch_id}) is skipped"
        if first is None or first.first_offset > offset:
            if not self._forgotten(envelope):
                proof.differs(f"{name}, but no batch before it has its id")
        elif first.first_offset == offset:
            proof.differs(f"{name}, but it is the first of its id")
        elif first.digest != envelope.digest and offset < self._quarantined_from:
            proof.unprovable += 1
        elif first.digest != envelope.digest:
            proof.differs(f"{name}, but has other bytes than the first of its id and is not in quarantine")

    def _worked_on(self, offset: int, envelope: Envelope, first: Booked | None, window_id: int) -> None:
        proof = self._proof
        name = f"offset {offset} (batch {envelope.batch_id})"
        if envelope.discarded:
            proof.differs(f"{name} was discarded, but window {window_id} has it")
        elif first is None:
            if not self._forgotten(envelope):
                proof.differs(f"{name} is in window {window_id}, but its id is not booked")
        elif first.first_offset != offset:
            if first.first_offset < offset or not self._forgotten(envelope):
                where = f"offset {first.first_offset} of window {first.window_id}"
                proof.differs(f"{name} is in window {window_id}, but its id is booked at {where}")
        elif first.digest != envelope.digest:
            proof.differs(f"{name} is booked with another digest")
        elif first.window_id != window_id:
            proof.differs(f"{name} is in window {window_id}, but booked in window {first.window_id}")

    def _forgotten(self, envelope: Envelope) -> bool:
        """Whether the batch is so old that its id need not be remembered any more."""
        if envelope.accepted_at_us >= self._remembered_from:
            return False
        self._proof.unprovable += 1
        return True


def _envelope(message: memoryview) -> Envelope | None:
    try:
        return decode_envelope(message)
    except UnfitMessage:
        return None

"""Proof of the books against the stream itself: it is read again, batch by batch, up to the cursor.

Held against each other: every offset lies in exactly one window; an offset that is not skipped holds the
first batch of its id, and the ledger booked that id there, with that digest and in that window; an offset
that is skipped holds a repeat, a discarded batch, or one that is in quarantine. Where the stream was cut or
replaced, windows of before speak of what was left of it, those of after of the rest.

The stream is read in slices of some thousand batches. What the ledger says of a slice is read in one short
snapshot, after the cursor has passed it: what is split, deposited, or forgotten meanwhile is no difference.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine

import db.accounting.coverage
import db.ledger.dispatch
import db.retention.forgetting
from db.accounting.coverage import Booked
from db.clock import now_us
from db.customers.rows import Customer
from db.engine import read
from db.ledger.generations import history, stretches
from streams import Broker, Chunk, raw
from streams.errors import BrokerUnavailable
from webapp.accounting.batch_heads import SLICE, BatchHead, Heads, head
from webapp.accounting.books import stream_ends
from webapp.accounting.proof import Covering, Proof

AHEAD_BYTES = 4 * 1024 * 1024
AHEAD_CHUNKS = 64
"""What the broker may send ahead, in chunks like the last one; one chunk in any case."""
STATEMENT_S = 600.0
"""A statement over a slice takes milliseconds; counting the windows there are of a customer, minutes."""


class StreamChanged(BrokerUnavailable):
    """What was proved so far is of a stream that is no more."""


def verify(
    engine: Engine,
    broker: Broker,
    customer: Customer,
    proof: Proof,
    *,
    remember_days: int,
    deadline_s: float,
    progress: Callable[[int, int], None],
    from_offset: int = 0,
) -> None:
    """Fill the proof, from that offset on; `progress` is told offsets done and offsets due.

    `proof.reached` is the first offset that is not proved yet: after an error, `from_offset` of another try.
    Holds a few megabytes of the stream, and a transaction for as long as a slice is looked up.
    Raises db.errors.DatabaseUnavailable, streams.errors.BrokerUnavailable (also when nothing comes for
    `deadline_s`).
    """
    with read(engine) as connection:
        position = db.ledger.dispatch.position(connection, customer.id)
        provable = db.accounting.coverage.provable_from(connection, customer.id)
        past = history(connection, customer.id)
    # After the ledger, so that the stream is never behind it by chance.
    ends = stream_ends(broker, customer.slug, deadline_s=deadline_s)
    end = 0 if ends is None or ends.last is None else ends.last + 1
    proof.cursor, proof.generations = position.next_offset, list(past)
    oldest = max((ends.first or 0) if ends else 0, from_offset, provable)
    proof.first_offset = proof.reached = min(position.next_offset, oldest)
    if ends is None:
        proof.differs(f"there is no stream {raw(customer.slug)}")
    elif end < proof.cursor:
        proof.differs(f"the cursor is at {proof.cursor}, but the stream ends at {end}")
    covering = Covering(proof, stretches(past, proof.first_offset, proof.cursor))
    due = min(end, proof.cursor)
    for heads in _slices(_chunks(broker, customer.slug, proof.first_offset, due, deadline_s), due):
        with _same_stream(engine, customer, position.generation) as connection:
            _Check(connection, customer, proof, remember_days).slice(heads, covering)
        progress(proof.reached - proof.first_offset, proof.cursor - proof.first_offset)
    while proof.reached < proof.cursor:  # what the stream lost
        with _same_stream(engine, customer, position.generation) as connection:
            covering.enter(connection, customer.id, min(proof.reached + SLICE, proof.cursor) - 1)
        progress(proof.reached - proof.first_offset, proof.cursor - proof.first_offset)


@contextmanager
def _same_stream(engine: Engine, customer: Customer, generation: int) -> Iterator[Connection]:
    """A snapshot of the ledger, in which the stream is still the one that the verification began with."""
    with read(engine, statement_s=STATEMENT_S) as connection:
        if db.ledger.dispatch.position(connection, customer.id).generation != generation:
            raise StreamChanged(f"{raw(customer.slug)} was cut or replaced meanwhile: begin anew")
        yield connection


def _chunks(broker: Broker, slug: str, first: int, due: int, deadline_s: float) -> Iterator[Chunk]:
    """The chunks that hold the offsets from `first` to below `due`; each is given back for the next."""
    if first >= due:
        return
    subscription = broker.follow(raw(slug), first, credit=1)
    try:
        while True:
            chunks = subscription.take()
            if not chunks and not broker.wait(deadline_s):
                raise BrokerUnavailable(f"nothing came of {raw(slug)} for {deadline_s:g} s")
            if subscription.missing:
                raise BrokerUnavailable(f"{raw(slug)} was deleted meanwhile")
            for chunk in chunks:
                yield chunk
                subscription.done(chunk, ahead=max(1, min(AHEAD_CHUNKS, AHEAD_BYTES // max(chunk.size, 1))))
                if chunk.first_offset + len(chunk.messages) >= due:
                    return
    finally:
        subscription.close()


def _slices(chunks: Iterator[Chunk], due: int) -> Iterator[Heads]:
    """Whole chunks, until they hold `SLICE` batches."""
    heads: Heads = []
    for chunk in chunks:
        heads.extend(
            (offset, head(message))
            for offset, message in enumerate(chunk.messages, chunk.first_offset)
            if offset < due
        )
        if len(heads) >= SLICE:
            yield heads
            heads = []
    if heads:
        yield heads


class _Check:
    """Holds a slice's batches against windows and booked ids, as one snapshot has them."""

    def __init__(self, connection: Connection, customer: Customer, proof: Proof, remember_days: int) -> None:
        self._connection = connection
        self._customer_id = customer.id
        self._proof = proof
        self._quarantined_from = db.accounting.coverage.quarantine_pruned_below(connection, customer.id)
        self._remembered_from = db.retention.forgetting.remembered_from(
            connection, customer.id, now_us(connection), remember_days
        )

    def slice(self, heads: Heads, covering: Covering) -> None:
        """`heads` begin at `proof.reached`, or behind it where retention was faster."""
        of, first, last = self._customer_id, self._proof.reached, heads[-1][0]
        windows = covering.enter(self._connection, of, last)
        booked = db.accounting.coverage.booked_in(
            self._connection, of, [one.window_id for one in windows], first, last
        )
        skipped = {offset for one in windows for offset in one.skipped if first <= offset <= last}
        unknown = [
            found.batch_id
            for offset, found in heads
            if found is not None and (offset in skipped or found.batch_id not in booked)
        ]
        unknown += [
            found.other_id
            for offset, found in heads
            if found is not None and found.other_id and offset in skipped
        ]
        self._booked = booked | db.accounting.coverage.booked(self._connection, of, unknown)
        names = [
            f"offset-{offset}" if found is None else found.batch_id
            for offset, found in heads
            if offset in skipped and not (found is not None and found.discarded)
        ]
        self._held = db.accounting.coverage.quarantined(self._connection, of, names)
        if any(found is None and offset in skipped and offset not in self._held for offset, found in heads):
            # Told before it is a difference: no id is read in garbage, so its row may be under another.
            self._held |= db.accounting.coverage.quarantined_between(self._connection, of, first, last)
        rest = iter(windows)
        window = next(rest, None)
        for offset, found in heads:
            self._proof.read += 1
            while window is not None and window.last_offset < offset:
                window = next(rest, None)
            if window is None or offset < window.first_offset:
                continue  # in no window, which is told already
            if offset in window.skipped:
                self._skipped(offset, found)
            elif found is None:
                self._proof.differs(f"offset {offset} is in window {window.window_id}, but is no envelope")
            else:
                self._worked_on(offset, found, window.window_id)

    def _skipped(self, offset: int, envelope: BatchHead | None) -> None:
        proof = self._proof
        proof.skipped += 1
        if offset in self._held or (envelope is not None and envelope.discarded):
            return
        if envelope is None:
            if offset < self._quarantined_from:
                proof.unprovable += 1
            else:
                proof.differs(f"offset {offset} is no envelope, but not in quarantine")
            return
        first = self._first(envelope)
        name = f"offset {offset} (batch {envelope.batch_id}) is skipped"
        if first is None or (first.first_offset > offset and not first.elsewhere):
            if not self._forgotten(envelope):
                proof.differs(f"{name}, but no batch before it has its id")
        elif first.first_offset == offset and not first.elsewhere:
            proof.differs(f"{name}, but it is the first of its id")
        elif first.digest != envelope.digest and offset < self._quarantined_from:
            proof.unprovable += 1
        elif first.digest != envelope.digest:
            proof.differs(f"{name}, but has other bytes than the first of its id and is not in quarantine")

    def _first(self, envelope: BatchHead) -> Booked | None:
        """What is booked under the batch's id, or the same bytes under that of another release."""
        own, other = (self._booked.get(name) for name in (envelope.batch_id, envelope.other_id))
        if other is None or other.digest != envelope.digest:
            return own
        return other if own is None or own.state == "discarded" else own

    def _worked_on(self, offset: int, envelope: BatchHead, window_id: int) -> None:
        proof, first = self._proof, self._booked.get(envelope.batch_id)
        if first == (envelope.digest, offset, window_id, "accepted", False) and not envelope.discarded:
            return
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

    def _forgotten(self, envelope: BatchHead) -> bool:
        """Whether the batch is so old that its id need not be remembered any more."""
        if envelope.accepted_at_us >= self._remembered_from:
            return False
        self._proof.unprovable += 1
        return True

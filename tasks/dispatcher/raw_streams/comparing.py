"""Whether a raw stream is still the one that was read, and from which offset on it is not.

A stream loses its end when a node loses power, and a stream that is created anew, or restored, is another one
under the same name; both give offsets out again. The ledger has a fingerprint of the message before the
cursor, and of each message that lay in a window: what lies there now is held against them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection

import db.ledger.generations
from db.ledger.dispatch import Position
from db.ledger.generations import Generation, Kind, Recorded
from streams import Broker
from streams.errors import StreamEnds
from streams.messages.fingerprint import fingerprint, fingerprint_of


class Divergence(NamedTuple):
    """Where the stream stops being the one that was read; `edge` is the fingerprint of what lies before."""

    kind: Kind
    offset: int
    edge: bytes | None


@dataclass(frozen=True, kw_only=True)
class CurrentStream:
    """A raw stream as it is now: its oldest offset and its newest one, None when it is empty."""

    broker: Broker
    stream: str
    deadline_s: float
    first: int | None
    last: int | None

    def fingerprints(self, first: int, last: int) -> dict[int, bytes]:
        """Of the messages that are there, by offset; raises BrokerUnavailable, StreamMissing."""
        if self.last is None or first > (last := min(last, self.last)):
            return {}
        messages = self.broker.read(self.stream, first, last, deadline_s=self.deadline_s)
        return {message.offset: fingerprint(message.data) for message in messages}


def edge(connection: Connection, position: Position) -> bytes | None:
    """The fingerprint of the message before the cursor; where an earlier revision moved that, of the batch
    that is remembered there. None where nothing is known.
    """
    if position.edge is not None or position.next_offset == 0:
        return position.edge
    found = db.ledger.generations.ids(connection, position.customer_id, position.generation)
    if found is None:
        return None
    window = db.ledger.generations.recorded(connection, position.customer_id, position.generation, found[1])
    due = position.next_offset - 1
    return _booked(connection, window, due) if window is not None and window.last_offset == due else None


def unchanged(
    broker: Broker, stream: str, position: Position, edge: bytes | None, *, deadline_s: float
) -> bool:
    """Whether what lies before the cursor is the message of this fingerprint; one read of the stream.

    True also for what retention has removed, and without a fingerprint: nothing is known then that speaks
    against it. Raises BrokerUnavailable, StreamMissing: the read also tells whether the stream can be
    followed.
    """
    due = position.next_offset - 1
    if due < 0:
        broker.first_offset(stream, deadline_s=deadline_s)
        return True
    try:
        messages = broker.read(stream, due, due, deadline_s=deadline_s)
    except StreamEnds:
        return False
    return not messages or edge is None or fingerprint(messages[0].data) == edge


def diverges(
    connection: Connection, seen: CurrentStream, position: Position, past: Sequence[Generation]
) -> Divergence | None:
    """Where the stream stops being the one that was read; None when nothing speaks against all of it.

    What survives of a stream is its beginning, so the last window that is still there is found by bisection:
    some twenty reads of a message each. Raises BrokerUnavailable, StreamMissing.
    """
    below = position.next_offset
    for generation in [position.generation, *(one.generation - 1 for one in reversed(past))]:
        last = _last_unchanged(connection, seen, position.customer_id, generation, below)
        following = _following(connection, position.customer_id, generation, last)
        found = _within(connection, seen, last, following, below)
        if found is not None:
            return None if found.offset >= position.next_offset else found
        began = next((one for one in past if one.generation == generation), None)
        if began is None or began.kind == "replaced":
            break
        below = began.from_offset
    return Divergence("replaced", seen.first or 0, None)


def _last_unchanged(
    connection: Connection, seen: CurrentStream, customer_id: int, generation: int, below: int
) -> Recorded | None:
    """The newest window of the generation that is still there, up to its last offset that is below."""
    bounds = db.ledger.generations.ids(connection, customer_id, generation)
    found = None
    low, high = bounds or (0, -1)
    while low <= high:
        window = db.ledger.generations.recorded(connection, customer_id, generation, (low + high) // 2)
        if window is None or window.id < low:
            low = (low + high) // 2 + 1
        elif window.first_offset < below and _is_there(connection, seen, window, below):
            found, low = window, (low + high) // 2 + 1
        else:
            high = window.id - 1
    return found


def _is_there(connection: Connection, seen: CurrentStream, window: Recorded, below: int) -> bool:
    offset = min(window.last_offset, below - 1)
    if seen.last is None or offset > seen.last:
        return False
    if seen.first is not None and offset < seen.first:
        return True  # retention has removed it, and all that lay below
    known = _booked(connection, window, offset)
    return known is None or seen.fingerprints(offset, offset).get(offset, known) == known


def _following(
    connection: Connection, customer_id: int, generation: int, last: Recorded | None
) -> Recorded | None:
    after = 0 if last is None else last.id + 1
    return db.ledger.generations.recorded(connection, customer_id, generation, after, at_or_after=True)


def _within(
    connection: Connection, seen: CurrentStream, last: Recorded | None, following: Recorded | None, below: int
) -> Divergence | None:
    """The first offset behind `last`, or in the window `following` it, at which something else lies."""
    edge, reached = None, 0
    if last is not None:
        reached = min(last.last_offset + 1, below)
        edge = _booked(connection, last, reached - 1)
    if following is not None and following.first_offset < below:
        there = seen.fingerprints(following.first_offset, min(following.last_offset, below - 1))
        for offset, lies in sorted(there.items()):
            known = _booked(connection, following, offset)
            if known is not None and known != lies:
                break
            edge, reached = lies, offset + 1
    if reached == 0 or (seen.first or 0) >= reached:
        return None
    return Divergence("cut", reached, edge)


def _booked(connection: Connection, window: Recorded, offset: int) -> bytes | None:
    """The fingerprint of what was booked there; of a window of an earlier revision by its batch id."""
    known = window.fingerprint(offset)
    if known is None and (batch := db.ledger.generations.booked(connection, window.id, offset)):
        return fingerprint_of(*batch)
    return known

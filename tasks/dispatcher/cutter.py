"""Where a customer's next window ends. Pure: batches and bounds in, a number of batches out."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A batch that was read from the raw stream and is not recorded yet."""

    offset: int
    batch_id: str
    digest: bytes  # SHA-256 of the body, 32 bytes
    size: int  # bytes of the body as sent
    accepted_at_us: int
    seen_at_s: float  # monotonic seconds when the dispatcher read it
    ends_chunk: bool  # the last message of a chunk of the stream
    fingerprint: bytes  # of the message, 8 bytes
    other_id: str = ""  # by which another release knows the batch, as `streams.other_id`
    discarded: bool = False
    unfit: str = ""  # why the message is no envelope; empty when it is one
    message: bytes = b""  # as the stream has it, to be carried by a doorbell; empty where it was not kept


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The bounds of one window. `events` are estimated as `bytes × events_per_byte`."""

    batches: int
    bytes: int
    events: int
    events_per_byte: float


def cut(pending: Sequence[Pending], bounds: Bounds, *, linger_s: float, now_s: float) -> int:
    """How many of `pending`, from the front, make the next window now; 0 means wait for more.

    A window is cut when a bound on batches, bytes or events is met, or when its oldest batch has waited
    `linger_s`. A full window ends where a chunk ends when that costs it less than half of its batches,
    since a task that starts to read in the middle of a chunk is sent the whole chunk. One batch always fits.
    A window ends at once where offsets are missing, so that every offset within it is one of its batches.
    """
    taken = size = at_chunk_end = 0
    for batch in pending:
        if taken and batch.offset != pending[0].offset + taken:
            return taken
        if taken and (taken >= bounds.batches or _full(size + batch.size, bounds)):
            return at_chunk_end if at_chunk_end * 2 > taken else taken
        taken += 1
        size += batch.size
        if batch.ends_chunk:
            at_chunk_end = taken
    if taken and (taken >= bounds.batches or _full(size, bounds) or now_s - pending[0].seen_at_s >= linger_s):
        return taken
    return 0


def _full(size: int, bounds: Bounds) -> bool:
    return size > bounds.bytes or size * bounds.events_per_byte > bounds.events

"""One customer's raw stream as the dispatcher sees it: what was read and is not recorded yet."""

import time
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import NamedTuple

from streams import Chunk, Subscription, decode_envelope, other_id
from streams.errors import UnfitMessage
from streams.messages.fingerprint import fingerprint_of_envelope, fingerprint_of_unfit
from tasks.carried import MOST_BYTES
from tasks.dispatcher.cutter import Pending

CREDIT = 16  # chunks that a feed lets the broker send ahead
MOST_CREDIT = 128  # of small chunks
KEPT_BYTES = 16 * 1024 * 1024  # of messages that all feeds keep for their doorbells


class LastRing(NamedTuple):
    """When a window's doorbell was last rung (monotonic seconds), how often it was rung again before, and the
    group (by its first window) that it was rung with.
    """

    at_s: float
    repeats: int = 0
    group: int | None = None


@dataclass(kw_only=True)
class KeptMessages:
    """What the feeds of a dispatcher may keep of the messages that wait, together and each."""

    most_bytes: int = KEPT_BYTES
    most_of_feed: int = MOST_BYTES
    bytes: int = 0


@dataclass(kw_only=True)
class Feed:
    """Batches read from `raw.<customer>` from the recorded cursor on.

    Everything here can be rebuilt from the cursor in the database: losing it loses nothing. The bound on
    `pending` is kept by holding back the subscription's credits. They are for more chunks while these are
    small: what comes in a round is all that the next window can hold, and a round takes as long as the
    database takes to answer.
    """

    customer_id: int
    slug: str
    epoch: int
    generation: int
    next_offset: int  # the cursor in the database
    subscription: Subscription
    most_pending: int
    pending: deque[Pending] = field(default_factory=deque)
    pending_bytes: int = 0  # of the bodies of `pending`, as sent
    found: Collection[int] = ()  # windows that were in flight when the customer was opened
    in_flight: dict[int, LastRing] = field(default_factory=dict)  # windows recorded and not yet deposited
    kept: KeptMessages = field(default_factory=KeptMessages)
    _kept_bytes: int = 0  # of `pending`
    _uncredited: list[Chunk] = field(default_factory=list)
    _ahead_bytes: int = 0

    @property
    def read_up_to(self) -> int:
        """The offset after the last one read."""
        return self.pending[-1].offset + 1 if self.pending else self.next_offset

    def collect(self, ahead_bytes: int = 0) -> None:
        """Take what has come; give credits back while fewer than `most_pending` batches wait.

        `ahead_bytes`: as much the broker may send ahead, in chunks as large as those that came, if that is
        more than `CREDIT` of them; `MOST_CREDIT` at most.
        """
        self._ahead_bytes = ahead_bytes
        for chunk in self.subscription.take():
            self._unpack(chunk)
            self._uncredited.append(chunk._replace(messages=[]))  # what is needed of them is copied
        self._give_back()

    def recorded(self, count: int, next_offset: int) -> None:
        """Forget the first `count` batches: the ledger has them now."""
        for _ in range(count):
            batch = self.pending.popleft()
            self.pending_bytes -= batch.size
            self._keeps(-len(batch.message))
        self.next_offset = next_offset
        self._give_back()

    def close(self) -> None:
        self.subscription.close()
        self.pending.clear()
        self.pending_bytes = 0
        self._keeps(-self._kept_bytes)
        self._uncredited.clear()

    def _give_back(self) -> None:
        if self._uncredited and len(self.pending) < self.most_pending:
            each = max(1, sum(chunk.size for chunk in self._uncredited) // len(self._uncredited))
            ahead = min(max(self._ahead_bytes // each, CREDIT), MOST_CREDIT)
            self.subscription.done(*self._uncredited, ahead=ahead)
            self._uncredited.clear()

    def _unpack(self, chunk: Chunk) -> None:
        seen_at = time.monotonic()
        last = len(chunk.messages) - 1
        for index, message in enumerate(chunk.messages):
            offset = chunk.first_offset + index
            if offset >= self.read_up_to:
                pending = _pending(offset, self._copied(message), seen_at, index == last)
                self.pending.append(pending)
                self.pending_bytes += pending.size
                self._keeps(len(pending.message))

    def _copied(self, message: memoryview) -> memoryview | bytes:
        """A copy where there is room to keep one."""
        kept, size = self.kept, len(message)
        fits = kept.bytes + size <= kept.most_bytes and self._kept_bytes + size <= kept.most_of_feed
        return bytes(message) if fits else message

    def _keeps(self, more_bytes: int) -> None:
        self._kept_bytes += more_bytes
        self.kept.bytes += more_bytes


def _pending(offset: int, message: memoryview | bytes, seen_at: float, ends_chunk: bool) -> Pending:
    """A message as bytes is kept; a view keeps the whole chunk in memory."""
    try:
        envelope = decode_envelope(memoryview(message))
    except UnfitMessage as error:
        return Pending(
            offset=offset,
            batch_id=f"offset-{offset}",
            digest=b"",
            size=len(message),
            accepted_at_us=0,
            seen_at_s=seen_at,
            ends_chunk=ends_chunk,
            fingerprint=fingerprint_of_unfit(message),
            unfit=str(error),
        )
    return Pending(
        offset=offset,
        batch_id=envelope.batch_id,
        digest=bytes(envelope.digest),
        size=len(envelope.body),
        accepted_at_us=envelope.accepted_at_us,
        seen_at_s=seen_at,
        ends_chunk=ends_chunk,
        fingerprint=fingerprint_of_envelope(envelope),
        other_id=other_id(envelope),
        discarded=envelope.discarded,
        message=message if isinstance(message, bytes) and not envelope.discarded else b"",
    )

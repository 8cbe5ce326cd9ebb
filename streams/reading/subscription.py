"""Follows a stream from an offset on, through any number of lost connections."""

import asyncio
import random
from collections import deque
from collections.abc import Callable

from rstream import schema
from rstream.constants import OffsetType

from streams.connections import frames
from streams.connections.client import as_unavailable
from streams.connections.pool import Pool
from streams.errors import BrokerUnavailable, StreamMissing, UnfitMessage
from streams.messages.chunk import Chunk
from streams.reading.attachment import Attachment, attach
from streams.reading.gap_check import GapCheck
from streams.reading.ready_set import ReadySet
from streams.reading.stream_bounds import first_offset

# Between two tries to attach; doubles while nothing comes: a damaged chunk must not make a tight loop.
_PAUSE_MIN_S, _PAUSE_MAX_S = 0.025, 5.0


class Subscription:
    """Made by Broker.follow. `take`, `done` and `close` may be called from any thread and never block.

    Delivers every message from the asked offset on once and in order, also over a reconnect. At most `credit`
    chunks are received and not yet `done`, so a follower that stops taking stops the stream, not the process.
    When retention has removed the asked offset, it goes on with the oldest message there is: compare
    `first_offset` of the chunk with the offset that was due. `losses` counts how often it was not attached as
    it should have been: between a loss and the next attachment the stream may have become another one, whose
    offsets mean something else. It is counted before anything of the next attachment comes. `missing` is
    final: once the stream is gone
    nothing comes any more, not even from a new one of its name, whose offsets mean something else.
    """

    def __init__(
        self,
        stream: str,
        offset: int,
        credit: int,
        pool: Pool,
        arrivals: "ReadySet[Subscription]",
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.stream = stream
        self.missing = False
        self.losses = 0
        self.next_offset = offset
        self._credit = credit
        self._pool = pool
        self._arrivals = arrivals
        self._loop = loop
        self._chunks: deque[Chunk] = deque()
        self._error: UnfitMessage | None = None
        self._attachment: Attachment | None = None
        self._detached = asyncio.Event()
        self._gap = GapCheck()
        self._again = False
        # Chunks that the broker may still send, and chunks that the follower has not given back.
        self._granted = 0
        self._held = 0
        self._keeper: asyncio.Task[None] | None = None
        self._closed = False

    def take(self) -> list[Chunk]:
        """What has come since the last call; raises UnfitMessage when the next chunk can't be read at all."""
        taken: list[Chunk] = []
        while self._chunks:
            taken.append(self._chunks.popleft())
        if not taken and self._error is not None:
            raise self._error
        return taken

    def done(self, *chunks: Chunk, ahead: int | None = None) -> None:
        """Gives the credit of taken chunks back: as many others may come. `ahead`: the credit from now on."""
        self._on_loop(lambda: self._given_back(len(chunks), ahead))

    def close(self) -> None:
        """Nothing comes after this; what was not taken is dropped."""
        self._on_loop(self._end)

    def start(self) -> None:
        """Called once, on the loop's thread."""
        self._keeper = self._loop.create_task(self._keep())

    def _on_loop(self, work: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(work)
        except RuntimeError:
            return  # the Broker is closed, and this subscription with it

    def _given_back(self, chunks: int, credit: int | None) -> None:
        self._held -= chunks
        self._credit = self._credit if credit is None else credit
        self._grant()

    def _grant(self) -> None:
        """A Credit frame costs the broker as much as a small chunk, so half of the credit goes in one; less
        only when the broker has none left.
        """
        owed = self._credit - self._held - self._granted
        if self._attachment is not None and owed > 0 and (owed * 2 >= self._credit or self._granted <= 0):
            self._granted += owed
            try:
                self._attachment.credit(owed)
            except BrokerUnavailable as error:
                self.lost(error)

    def deliver(self, chunk: frames.DeliveredChunk) -> None:
        """Called by the connection, also for as long as an attachment that has lost its keeper is there."""
        if self._closed:
            return
        self._granted -= 1
        if self._again or self._gap.doubts(self.next_offset, chunk.first_offset):
            self._again = True
            self._drop()
            return
        skipped = max(self.next_offset - chunk.first_offset, 0)
        messages = chunk.messages[skipped:] if skipped else chunk.messages
        self.next_offset = max(self.next_offset, chunk.next_offset)
        if not messages:
            self._grant()
            return
        self._held += 1
        first = chunk.first_offset + skipped
        self._chunks.append(Chunk(self.stream, first, chunk.timestamp_ms, messages, chunk.size))
        self._arrivals.add(self)

    def unfit(self, error: UnfitMessage) -> None:
        """Called by the connection."""
        if self._closed:
            return
        self._error = error
        self._stop()
        self._arrivals.add(self)

    def lost(self, error: BrokerUnavailable) -> None:
        """Called by the connection, or when it turns out to be gone."""
        self._count_loss()
        self._attachment = None
        self._granted = 0
        self._detached.set()

    def _count_loss(self) -> None:
        if not self._closed:
            self.losses += 1
            self._arrivals.add(self)

    def _drop(self) -> None:
        """Gives the attachment up; the keeper makes another one."""
        if self._attachment is not None:
            self._attachment.detach()
        self._attachment = None
        self._granted = 0
        self._detached.set()

    def _end(self) -> None:
        self._chunks.clear()
        self._stop()

    def _stop(self) -> None:
        self._closed = True
        if self._keeper is not None:
            self._keeper.cancel()
        self._drop()

    async def _keep(self) -> None:
        """Attaches, and attaches again after each loss, until the stream is gone or the follower closes."""
        failures = 0
        while not self._closed:
            pause_s, reached, doubtful = 0.0, self.next_offset, False
            try:
                if self.losses:
                    # Where it costs others nothing: followers share connections, which a broken stream ends.
                    await first_offset(self._pool, self.stream)
                await self._attach()
                await self._detached.wait()
                doubtful = self._again
            except StreamMissing:
                self.missing = not self._closed
                if self.missing:
                    self._arrivals.add(self)
                return
            except Exception as error:
                self._count_loss()
                pause_s = as_unavailable(error, f"following {self.stream}").retry_after_s
            failures = 0 if self.next_offset > reached else failures + 1
            pause_s = max(pause_s, min(_PAUSE_MIN_S * 2.0 ** min(failures, 10), _PAUSE_MAX_S))
            # A doubt is settled at once, but only while the broker answers: `_again` outlasts its loss.
            await asyncio.sleep(0 if doubtful else pause_s * random.uniform(1.0, 1.2))  # noqa: S311

    async def _attach(self) -> None:
        """To the leader: on a replica that is behind, the next offset may be far past the end.

        The follower may have closed meanwhile: a cancellation that comes together with an answer is lost in
        asyncio.wait_for (Python before 3.12), which the client's requests use.

        A newer broker keeps chunks back until more than half of the credit that a subscription began with is
        there (tried on 4.3.6): it begins with one, and gets the rest at once.
        """
        location = await self._pool.locate(self.stream)
        self._detached.clear()
        self._again = False
        self._granted = min(max(self._credit - self._held, 0), 1)
        offset = schema.OffsetSpecOffset(OffsetType.OFFSET, self.next_offset)
        self._attachment = await attach(
            self._pool, location.leader, self, offset, self._granted, purpose="follow"
        )
        if self._again or self._closed:
            self._drop()
        self._grant()

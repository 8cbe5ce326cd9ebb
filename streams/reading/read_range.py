"""Reads a range of offsets."""

import asyncio
from collections.abc import Sequence

from streams.connections import frames
from streams.connections.pool import Pool
from streams.errors import BrokerUnavailable, StreamEnds, UnfitMessage
from streams.messages.chunk import Message
from streams.reading.gathering import Gathering

# Chunks under way for one read: enough small ones to fill a round trip, few large ones.
_FIRST_CREDIT = 1
_READ_AHEAD_CHUNKS = 64
_READ_AHEAD_BYTES = 4 * 1024 * 1024

Range = tuple[str, int, int]
"""A stream with the first and last offset to read."""
RangeRead = list[Message] | BrokerUnavailable | StreamEnds | UnfitMessage
"""The range's messages, or why they could not be read."""


class OffsetRange(Gathering):
    """The messages first..last."""

    def __init__(self, stream: str, first: int, last: int) -> None:
        super().__init__(stream, first)
        self._last = last

    @property
    def complete(self) -> bool:
        return self.next_offset > self._last

    @property
    def least_end(self) -> int:
        return self._last

    def take(self, chunk: frames.DeliveredChunk) -> int:
        first, asked, last = chunk.first_offset, self.next_offset, self._last
        wanted = chunk.messages[max(asked - first, 0) : max(last + 1 - first, 0)]
        self.messages.extend(map(Message, range(max(first, asked), last + 1), wanted))
        self.next_offset = max(chunk.next_offset, asked)
        return self._read_ahead(chunk)

    def _read_ahead(self, chunk: frames.DeliveredChunk) -> int:
        """As many chunks as the rest needs, if they are like this one."""
        rest = self._last + 1 - self.next_offset
        if rest <= 0:
            return 0
        needed = -(-rest // max(chunk.next_offset - chunk.first_offset, 1))
        affordable = _READ_AHEAD_BYTES // max(chunk.size, 1)
        return max(1, min(needed, affordable, _READ_AHEAD_CHUNKS))


async def read_each(pool: Pool, ranges: Sequence[Range], within_s: float) -> list[RangeRead]:
    """One attempt for each; see Broker.read_each."""

    async def one(stream: str, first: int, last: int) -> RangeRead:
        try:
            async with asyncio.timeout(within_s):
                return await read(pool, stream, first, last)
        except TimeoutError:
            return BrokerUnavailable(f"reading {stream} {first}..{last} took longer than {within_s:.0f} s")
        except (BrokerUnavailable, StreamEnds, UnfitMessage) as error:
            return error

    return await asyncio.gather(*(one(*each) for each in ranges))


async def read(pool: Pool, stream: str, first: int, last: int) -> list[Message]:
    """One attempt; see Broker.read."""
    return await OffsetRange(stream, first, last).run(pool, credit=_FIRST_CREDIT)

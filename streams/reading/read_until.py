"""Reads from an offset on until the reader has seen enough."""

from collections.abc import Callable

from streams.connections import frames
from streams.connections.pool import Pool
from streams.messages.chunk import Message
from streams.reading.gathering import Gathering

_READ_AHEAD_CHUNKS = 4


class ReadUntil(Gathering):
    """Whole chunks, until `enough` has said yes to one of their messages."""

    def __init__(self, stream: str, first: int, enough: Callable[[Message], bool]) -> None:
        super().__init__(stream, first)
        self._enough = enough
        self._complete = False

    @property
    def complete(self) -> bool:
        return self._complete

    @property
    def least_end(self) -> int:
        return self.next_offset

    def take(self, chunk: frames.DeliveredChunk) -> int:
        skipped = max(self.next_offset - chunk.first_offset, 0)
        offsets = range(chunk.first_offset + skipped, chunk.next_offset)
        came = list(map(Message, offsets, chunk.messages[skipped:]))
        self.messages += came
        self.next_offset = max(self.next_offset, chunk.next_offset)
        try:
            self._complete = any(map(self._enough, came))
        except Exception as error:
            self.failure = error  # the reader's own; it is raised where it reads
        return 0 if self._complete else _READ_AHEAD_CHUNKS


async def read_until(pool: Pool, stream: str, first: int, enough: Callable[[Message], bool]) -> list[Message]:
    """One attempt; see Broker.read_until."""
    return await ReadUntil(stream, first, enough).run(pool, credit=_READ_AHEAD_CHUNKS)

"""What comes out of a stream."""

from typing import NamedTuple


class Message(NamedTuple):
    """One message; `data` is a slice of the received chunk and keeps all of it in memory."""

    offset: int
    data: memoryview


class Chunk(NamedTuple):
    """Consecutive messages as the broker stored them: messages[i] has the offset first_offset + i.

    `timestamp_ms`: when the broker wrote it, ms since the epoch. `size`: bytes of the whole chunk as it came,
    those of messages below the asked offset included.
    """

    stream: str
    first_offset: int
    timestamp_ms: int
    messages: list[memoryview]
    size: int

"""What every read has in common: one subscription, from the first chunk until enough has come."""

import asyncio
from abc import ABC, abstractmethod

from rstream import schema
from rstream.constants import OffsetType

from streams.connections import frames
from streams.connections.pool import Pool
from streams.errors import BrokerUnavailable, StreamEnds, UnfitMessage
from streams.messages.chunk import Message
from streams.reading.attachment import Attachment, attach
from streams.reading.gap_check import GapCheck
from streams.reading.stream_bounds import last_offset

# How long nothing may come before the stream's end is looked up and the read attached anew; doubles.
_GRACE_S = 0.05


class Gathering(ABC):
    """Receives the chunks of one read. `next_offset` is the one that is waited for."""

    def __init__(self, stream: str, first: int) -> None:
        self.stream = stream
        self.messages: list[Message] = []
        self.next_offset = first
        self.failure: Exception | None = None
        self._arrived = asyncio.Event()
        self._attachment: Attachment | None = None
        self._granted = 0
        self._wanted = 0
        self._gap = GapCheck()
        self._again = False

    @property
    @abstractmethod
    def complete(self) -> bool:
        """Nothing more is needed."""

    @property
    @abstractmethod
    def least_end(self) -> int:
        """A stream whose last offset is below this can't complete the read."""

    @abstractmethod
    def take(self, chunk: frames.DeliveredChunk) -> int:
        """Takes what is wanted of a chunk; how many more should be under way now."""

    def deliver(self, chunk: frames.DeliveredChunk) -> None:
        if self.complete or self.failure is not None or self._again:
            return  # what was under way when enough had come, or from the wrong place
        self._arrived.set()
        if self._gap.doubts(self.next_offset, chunk.first_offset):
            self._again = True
            return
        self._granted -= 1
        self._wanted = self.take(chunk)
        self._pay()

    def unfit(self, error: UnfitMessage) -> None:
        self.failure = error
        self._arrived.set()

    def lost(self, error: BrokerUnavailable) -> None:
        self.failure = error
        self._arrived.set()

    def _pay(self) -> None:
        """Gives the broker the credit that is due; chunks may come before the attachment is known."""
        owed = self._wanted - self._granted
        if self._attachment is not None and owed > 0:
            self._granted += owed
            self._attachment.credit(owed)

    async def run(self, pool: Pool, credit: int) -> list[Message]:
        """Raises StreamEnds, StreamMissing, UnfitMessage, BrokerUnavailable."""
        grace_s = _GRACE_S
        while not self.complete:
            await self._attempt(pool, credit, grace_s)
            grace_s *= 2
        return self.messages

    async def _attempt(self, pool: Pool, credit: int, grace_s: float) -> None:
        """Ends when enough has come; when nothing comes though there is more; when what comes is doubtful."""
        self._again, self._granted, self._wanted = False, credit, 0
        location = await pool.locate(self.stream)
        where = schema.OffsetSpecOffset(OffsetType.OFFSET, self.next_offset)
        self._attachment = await attach(pool, location.any_replica(), self, where, credit)
        try:
            self._pay()
            while not self.complete and not self._again:
                if self.failure is not None:
                    raise self.failure
                self._arrived.clear()
                async with asyncio.timeout(grace_s):
                    await self._arrived.wait()
        except TimeoutError:
            await self._check_end(pool)
        finally:
            self._attachment.detach()
            self._attachment = None

    async def _check_end(self, pool: Pool) -> None:
        due = self.least_end  # as it was when nothing came: meanwhile the rest may come after all
        end = await last_offset(pool, self.stream)
        if not self.complete and (end is None or end < due):
            raise StreamEnds(self.stream, end)

"""One stream's way to its leader: a queue, a publisher id, and what waits for its confirm."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

from rstream import schema

from streams.connections import frames
from streams.connections.client import StreamClient, as_unavailable, check
from streams.connections.pool import Pool
from streams.errors import BrokerUnavailable, Refused, StreamMissing
from streams.publishing.confirms import UnconfirmedBytes, Waiting

# How often a publisher is tried to be opened while callers wait, and the longest pause in between, seconds.
_OPENING_TRIES = 3
_MOMENT_S = 0.25
# So long after a frame the next one is sent at the latest, seconds.
_SHARE_S = 0.010
# So many messages that wait are sent earlier: as soon as those before them are confirmed.
_SEVERAL = 8

Entry = tuple[bytes, Waiting]


class StreamPublisher:
    """Callers append to `queue`; everything else belongs to the loop's thread.

    The publisher has no name, so the broker deduplicates nothing. After a loss, what was written is given up
    as unknown and never sent again; what was not written yet goes out over the next connection.

    A frame becomes a chunk, and a chunk costs the broker and each reader as much as tens of small messages.
    So what comes within `_SHARE_S` of a frame is sent together: when that time is over, when it fills one, or
    when `_SEVERAL` wait and all before them are confirmed. Any other message is sent at once.
    """

    def __init__(
        self,
        stream: str,
        pool: Pool,
        accounts: tuple[UnconfirmedBytes, UnconfirmedBytes],
        frame_bytes: int,
        on_idle: Callable[["StreamPublisher"], None],
    ) -> None:
        self.stream = stream
        self.queue: deque[Entry] = deque()
        self.dirty = False
        self.account, self._total = accounts
        self._pool = pool
        self._frame_bytes = frame_bytes
        self._on_idle = on_idle
        self._connection: StreamClient | None = None
        self._publisher_id = -1
        self._opening: asyncio.Task[None] | None = None
        self._unconfirmed: dict[int, tuple[int, Waiting]] = {}
        self._unconfirmed_bytes = 0
        self._sharing: asyncio.TimerHandle | None = None
        # By the loop's clock.
        self._sent_at = -_SHARE_S

    def writable(self) -> None:
        """Sends what waits, unless it is to share a frame; opens the publisher first if need be."""
        if self._may_be_shared():
            loop = asyncio.get_running_loop()
            left_s = self._sent_at + _SHARE_S - loop.time()
            if left_s > 0:
                if self._sharing is None and self.queue:
                    self._sharing = loop.call_later(left_s, self._send_all)
                return
        self._send_all()

    def _may_be_shared(self) -> bool:
        """Whether what waits is not enough for a frame of its own."""
        waiting = self.account.open - self._unconfirmed_bytes
        return waiting < self._frame_bytes and bool(self._unconfirmed or len(self.queue) < _SEVERAL)

    def _send_all(self) -> None:
        if self._sharing is not None:
            self._sharing.cancel()
            self._sharing = None
        if self._connection is None:
            if self._opening is None and self.queue:
                self._opening = asyncio.get_running_loop().create_task(self._open())
            return
        while self.queue and self._connection is not None and not self._connection.paused:
            taken = self._take(min(self._frame_bytes, self._connection.frame_max))
            if taken:
                self._send(self._connection, taken)

    def _take(self, frame_bytes: int) -> list[Entry]:
        """The messages of the next frame: at least one, unless all callers have given up."""
        room = frame_bytes - frames.PUBLISH_OVERHEAD
        taken: list[Entry] = []
        while self.queue:
            message, waiter = self.queue[0]
            size = len(message) + frames.ENTRY_OVERHEAD
            if taken and size > room:
                break
            self.queue.popleft()
            if waiter.abandoned:
                self._resolve(len(message), waiter, None)
            else:
                taken.append((message, waiter))
                room -= size
        return taken

    def _send(self, connection: StreamClient, taken: list[Entry]) -> None:
        self._sent_at = asyncio.get_running_loop().time()
        first = connection.take_publishing_ids(len(taken))
        messages = []
        for publishing_id, (message, waiter) in enumerate(taken, first):
            self._unconfirmed[publishing_id] = (len(message), waiter)
            self._unconfirmed_bytes += len(message)
            messages.append(message)
        try:
            connection.write(frames.encode_publish(self._publisher_id, first, messages))
        except BrokerUnavailable as error:
            self.lost(error)

    def confirmed(self, publishing_ids: Iterable[int]) -> None:
        """The broker has these messages."""
        pop = self._unconfirmed.pop
        for publishing_id in publishing_ids:
            entry = pop(publishing_id, None)
            if entry is not None:
                self._unconfirmed_bytes -= entry[0]
                self._resolve(*entry, None)
        if self._sharing is not None:
            self.writable()

    def refused(self, publishing_id: int, code: int) -> None:
        """The broker does not take this message."""
        entry = self._unconfirmed.pop(publishing_id, None)
        if entry is not None:
            self._unconfirmed_bytes -= entry[0]
            detail = f"publishing to {self.stream}: the broker refused with code {code}"
            self._resolve(*entry, Refused(detail, code=code))

    def lost(self, error: BrokerUnavailable) -> None:
        """Gives up what was written; what still waits tries again over another connection."""
        self._connection = None
        unconfirmed, self._unconfirmed = self._unconfirmed, {}
        self._unconfirmed_bytes = 0
        if unconfirmed:
            unknown = BrokerUnavailable(
                f"publishing to {self.stream}: outcome unknown: {error}", retry_after_s=error.retry_after_s
            )
            for size, waiter in unconfirmed.values():
                self._resolve(size, waiter, unknown)
        if not self.queue:
            self._on_idle(self)  # the stream may be gone for good
        self.writable()

    def _resolve(self, size: int, waiter: Waiting, error: BrokerUnavailable | None) -> None:
        self.account.resolved += size
        self._total.resolved += size
        waiter.resolve(error)

    async def _open(self) -> None:
        try:
            await self._declare_soon()
        except Exception as error:
            reason = as_unavailable(error, f"opening a publisher for {self.stream}")
            while self.queue:
                message, waiter = self.queue.popleft()
                self._resolve(len(message), waiter, reason)
            if isinstance(reason, StreamMissing):
                self._on_idle(self)
        finally:
            self._opening = None
        self.writable()

    async def _declare_soon(self) -> None:
        """Rides out what passes within moments: a cut connection, a leader that is being chosen."""
        for _ in range(_OPENING_TRIES - 1):
            try:
                return await self._declare()
            except BrokerUnavailable as error:
                if error.retry_after_s > _MOMENT_S:
                    raise
                await asyncio.sleep(error.retry_after_s)
        return await self._declare()

    async def _declare(self) -> None:
        location = await self._pool.locate(self.stream)
        connection = await self._pool.connection_for(location.leader, "publish")
        publisher_id = connection.publishers.take(self)
        if publisher_id is None:
            raise BrokerUnavailable("no publisher id is free")
        try:
            frame = schema.DeclarePublisher(connection.correlation(), publisher_id, "", self.stream)
            answer = await connection.sync_request(
                frame, schema.DeclarePublisherResponse, raise_exception=False
            )
            check(answer.response_code, self.stream, "opening a publisher for")
        except BaseException:
            connection.publishers.release(publisher_id, self)
            raise
        if connection.publishers.get(publisher_id) is not self:
            raise BrokerUnavailable(f"stream {self.stream} has gone while its publisher was opened")
        self._connection, self._publisher_id = connection, publisher_id

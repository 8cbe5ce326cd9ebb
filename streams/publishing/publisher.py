"""Publishing with confirms: the messages of many callers share Publish frames."""

import asyncio
import threading
import time
from collections.abc import Sequence

from streams.connections import frames
from streams.connections.pool import Pool
from streams.errors import Overloaded, TooLarge
from streams.publishing.confirms import ConfirmCall, ConfirmWaiter, Done, UnconfirmedBytes, Waiting
from streams.publishing.stream_publisher import StreamPublisher
from streams.settings import StreamSettings


class Publisher:
    """`publish` is called by any thread, `submit` on the loop; the loop sends once for all that wait then."""

    def __init__(self, settings: StreamSettings, pool: Pool, loop: asyncio.AbstractEventLoop) -> None:
        self._settings = settings
        self._pool = pool
        self._loop = loop
        self._lock = threading.Lock()
        self._publishers: dict[str, StreamPublisher] = {}
        self._total = UnconfirmedBytes()
        self._dirty: list[StreamPublisher] = []

    def publish(self, stream: str, messages: Sequence[bytes], deadline_s: float) -> None:
        """Returns after the broker's confirm of all. Raises BrokerUnavailable, Overloaded, TooLarge."""
        size = self._size(messages)
        waiter = ConfirmWaiter(len(messages))
        if self._queue(stream, messages, size, waiter):
            self._loop.call_soon_threadsafe(self._flush)
        waiter.wait(deadline_s, stream)

    def submit(self, stream: str, message: bytes, deadline_s: float, done: Done) -> None:
        """On the loop: publish, and call `done` after the confirm or with what went wrong, never at once.

        Raises Overloaded and TooLarge as `publish` does; `done` is not called then.
        """
        size = self._size((message,))
        call = ConfirmCall(stream, done, self._loop)
        if self._queue(stream, (message,), size, call):
            self._loop.call_soon(self._flush)
        call.expire_after(deadline_s)

    def _size(self, messages: Sequence[bytes]) -> int:
        size = 0
        for message in messages:
            length = len(message)
            if length + frames.DELIVER_OVERHEAD > self._pool.frame_max:
                raise TooLarge(f"message of {length} bytes; the broker's frames hold {self._pool.frame_max}")
            size += length
        return size

    def _queue(self, stream: str, messages: Sequence[bytes], size: int, waiter: Waiting) -> bool:
        """Whether the loop is to be woken: nobody has asked for that since it last sent."""
        with self._lock:
            publisher = self._publishers.get(stream) or self._add_publisher(stream)
            self._admit(publisher.account, size)
            for message in messages:
                publisher.queue.append((message, waiter))
            wake = not self._dirty
            if not publisher.dirty:
                publisher.dirty = True
                self._dirty.append(publisher)
        return wake

    def publish_all(self, stream: str, messages: Sequence[bytes], deadline_s: float) -> None:
        """Publishes any number of messages in order, in portions that fit the bound of unconfirmed bytes."""
        until = time.monotonic() + deadline_s
        for portion in _portions(messages, self._settings.unconfirmed_bytes_per_stream // 2):
            self.publish(stream, portion, until - time.monotonic())

    def _admit(self, unconfirmed: UnconfirmedBytes, size: int) -> None:
        """A message above the whole bound is let in when nothing else is under way."""
        settings = self._settings
        if unconfirmed.open and unconfirmed.open + size > settings.unconfirmed_bytes_per_stream:
            raise Overloaded(process=False)
        if self._total.open and self._total.open + size > settings.unconfirmed_bytes:
            raise Overloaded(process=True)
        unconfirmed.admitted += size
        self._total.admitted += size

    def _add_publisher(self, stream: str) -> StreamPublisher:
        accounts = (UnconfirmedBytes(), self._total)
        publisher = StreamPublisher(
            stream, self._pool, accounts, self._settings.publish_frame_bytes, self._forget
        )
        self._publishers[stream] = publisher
        return publisher

    def _forget(self, publisher: StreamPublisher) -> None:
        with self._lock:
            if not publisher.queue:
                self._publishers.pop(publisher.stream, None)

    def _flush(self) -> None:
        with self._lock:
            dirty, self._dirty = self._dirty, []
            for publisher in dirty:
                publisher.dirty = False
        for publisher in dirty:
            publisher.writable()


def _portions(messages: Sequence[bytes], limit: int) -> list[list[bytes]]:
    portions: list[list[bytes]] = []
    room = 0
    for message in messages:
        if not portions or len(message) > room:
            portions.append([])
            room = limit
        portions[-1].append(message)
        room -= len(message)
    return portions

"""Batches that wait for room among those whose confirms are awaited."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from streams.errors import BrokerUnavailable, Overloaded

STREAM_PART, QUEUE_PART = 8, 4
"""Of what a worker may hold of bodies, the eighth may wait for room in one stream, and a quarter in all."""
LOOK_S = 0.1
"""So often it is seen who has waited for too long, and whether there is room that nobody told of."""

Done = Callable[[Exception | None], None]
Submit = Callable[[str, bytes, float, Callable[[BrokerUnavailable | None], None]], None]
"""`streams.Broker.submit`: stream, message, seconds, and what is called at the end."""
Watch = Callable[[str, int], None]
"""Told a stream and how many bytes of it wait, when that has changed. It must publish nothing at once."""


@dataclass(slots=True)
class _Queued:
    message: bytes
    until: float
    done: Done


@dataclass(slots=True)
class _StreamQueue:
    """What waits of one stream. `refusal` says why its first message waits."""

    refusal: Overloaded
    entries: deque[_Queued] = field(default_factory=deque)
    held: int = 0


class PublishQueue:
    """Of the broker's loop. A stream that is full keeps its own batches waiting and no others'; when the
    process is full, the streams take turns.

    `stream_bytes`, `most_bytes`: so much may wait of one stream, and of all. One message may be larger.
    """

    def __init__(self, submit: Submit, *, stream_bytes: int, most_bytes: int) -> None:
        self._submit = submit
        self._stream_bytes = stream_bytes
        self._most_bytes = most_bytes
        self.held = 0
        self.watch: Watch = _no_one
        # The stream whose turn it is comes first.
        self._queues: dict[str, _StreamQueue] = {}
        # Why one of them waits that has room of its own.
        self._full: Overloaded | None = None
        # Of these something was settled in this turn of the loop.
        self._settled: set[str] = set()
        self._look: asyncio.TimerHandle | None = None

    def publish(self, stream: str, message: bytes, deadline_s: float, done: Done) -> None:
        """`done` is called with None after the confirm, else with the error; later.

        Raises Overloaded when too much waits already, TooLarge and BrokerUnavailable as `Submit` does; `done`
        is not called then.
        """
        queue = self._queues.get(stream)
        refusal = queue.refusal if queue is not None else self._full
        if refusal is None:
            try:
                self._submit(stream, message, deadline_s, self._watched(stream, done))
            except Overloaded as error:
                refusal = error
            else:
                return
        loop = asyncio.get_running_loop()
        self._append(stream, _Queued(message, loop.time() + deadline_s, done), refusal)
        if self._look is None:
            self._look = loop.call_later(LOOK_S, self._look_round)

    def _append(self, stream: str, entry: _Queued, refusal: Overloaded) -> None:
        queue, size = self._queues.get(stream), len(entry.message)
        if queue is not None and queue.held and queue.held + size > self._stream_bytes:
            raise Overloaded(process=False)
        if self.held and self.held + size > self._most_bytes:
            raise Overloaded(process=True)
        if queue is None:
            queue = self._queues[stream] = _StreamQueue(refusal)
        if refusal.process:
            self._full = refusal
        queue.entries.append(entry)
        self._count(stream, queue, size)

    def _watched(self, stream: str, done: Done) -> Callable[[BrokerUnavailable | None], None]:
        def settled(error: BrokerUnavailable | None) -> None:
            if self._queues:
                if not self._settled:
                    asyncio.get_running_loop().call_soon(self._go_on)
                self._settled.add(stream)
            done(error)

        return settled

    def _look_round(self) -> None:
        self._look = None
        for stream, queue in list(self._queues.items()):
            self._give_up(stream, queue)
        self._go_on_with(list(self._queues))
        if self._queues:
            self._look = asyncio.get_running_loop().call_later(LOOK_S, self._look_round)

    def _go_on(self) -> None:
        settled, self._settled = self._settled, set()
        # What became free of the process is anybody's.
        self._go_on_with(list(self._queues) if self._full is not None else list(settled))

    def _go_on_with(self, streams: list[str]) -> None:
        self._full = None
        for stream in streams:
            queue = self._queues.get(stream)
            if queue is not None and not self._drained(stream, queue):
                return

    def _drained(self, stream: str, queue: _StreamQueue) -> bool:
        """Publish what there is room for now. False when the process is full."""
        now = asyncio.get_running_loop().time()
        published = False
        while queue.entries:
            entry = queue.entries[0]
            try:
                left = max(0.0, entry.until - now)
                self._submit(stream, entry.message, left, self._watched(stream, entry.done))
                published = True
            except Overloaded as refusal:
                queue.refusal = refusal
                if refusal.process:
                    self._full = refusal
                if published:
                    self._queues[stream] = self._queues.pop(stream)
                return not refusal.process
            except Exception as error:
                # As TooLarge, when the broker has another bound than when it began to wait.
                self._tell(entry, error)
            self._remove_first(stream, queue)
        del self._queues[stream]
        return True

    def _give_up(self, stream: str, queue: _StreamQueue) -> None:
        """What has waited for its time."""
        now = asyncio.get_running_loop().time()
        while queue.entries and queue.entries[0].until <= now:
            self._tell(queue.entries[0], queue.refusal)
            self._remove_first(stream, queue)

    def _remove_first(self, stream: str, queue: _StreamQueue) -> None:
        self._count(stream, queue, -len(queue.entries.popleft().message))

    def _count(self, stream: str, queue: _StreamQueue, size: int) -> None:
        queue.held += size
        self.held += size
        self.watch(stream, queue.held)

    def _tell(self, entry: _Queued, error: Exception) -> None:
        # By the loop, so that nobody's failure stops the others.
        asyncio.get_running_loop().call_soon(entry.done, error)


def _no_one(_stream: str, _held: int) -> None:
    """Nobody asks."""

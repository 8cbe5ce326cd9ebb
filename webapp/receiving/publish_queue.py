"""Batches that wait for room among those whose confirms are awaited."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from streams.errors import BrokerUnavailable, Overloaded, TooLarge

Done = Callable[[BrokerUnavailable | TooLarge | None], None]
Submit = Callable[[str, bytes, float, Callable[[BrokerUnavailable | None], None]], None]
"""`streams.Broker.submit`: stream, message, seconds, and what is called at the end."""


@dataclass(slots=True)
class _Queued:
    message: bytes
    until: float
    done: Done
    refusal: Overloaded


def _now() -> float:
    return asyncio.get_running_loop().time()


class PublishQueue:
    """Of the broker's loop. A stream that is full keeps its own batches waiting and no others'. What waits is
    bounded by who holds the bodies (`SLUICE_HTTP_BODIES_BYTES`).
    """

    def __init__(self, submit: Submit) -> None:
        self._submit = submit
        self._queues: dict[str, deque[_Queued]] = {}
        self._woken = False

    def publish(self, stream: str, message: bytes, deadline_s: float, done: Done) -> None:
        """`done` is called with None after the confirm, else with the error; later. Raises TooLarge."""
        queue = self._queues.get(stream)
        until = _now() + deadline_s
        if queue is not None:
            self._append(queue, stream, _Queued(message, until, done, queue[-1].refusal))
            return
        try:
            self._submit(stream, message, deadline_s, self._watched(done))
        except Overloaded as refusal:
            queue = self._queues[stream] = deque()
            self._append(queue, stream, _Queued(message, until, done, refusal))

    def _append(self, queue: deque[_Queued], stream: str, entry: _Queued) -> None:
        queue.append(entry)
        asyncio.get_running_loop().call_at(entry.until, self._go_on_with, stream)

    def _watched(self, done: Done) -> Callable[[BrokerUnavailable | None], None]:
        def settled(error: BrokerUnavailable | None) -> None:
            done(error)
            if self._queues and not self._woken:
                self._woken = True
                asyncio.get_running_loop().call_soon(self._go_on)

        return settled

    def _go_on(self) -> None:
        self._woken = False
        for stream in list(self._queues):
            self._go_on_with(stream)

    def _go_on_with(self, stream: str) -> None:
        """Publish what there is room for now, and give up what has waited for its time."""
        queue = self._queues.get(stream)
        if queue is None:
            return
        while queue:
            entry = queue[0]
            left = entry.until - _now()
            if left <= 0:
                queue.popleft()
                entry.done(entry.refusal)
                continue
            try:
                self._submit(stream, entry.message, left, self._watched(entry.done))
            except Overloaded as refusal:
                entry.refusal = refusal
                return
            except TooLarge as error:
                # The broker has another bound than when it began to wait.
                entry.done(error)
            queue.popleft()
        self._queues.pop(stream, None)

"""Tells a waiting thread which subscriptions have something for it."""

import threading
from collections.abc import Hashable
from typing import Generic, TypeVar

# In a Broker: Subscription, which imports this module.
T = TypeVar("T", bound=Hashable)


class ReadySet(Generic[T]):
    """Filled by the loop's thread, emptied by the one thread that waits."""

    def __init__(self) -> None:
        self._something = threading.Event()
        self._lock = threading.Lock()
        self._arrived: dict[T, None] = {}

    def add(self, subscription: T) -> None:
        """May be called again before the next `wait`, which then has it once."""
        # Set under the lock: else a wait that has taken the subscription already would end the next one too.
        with self._lock:
            self._arrived[subscription] = None
            self._something.set()

    def wait(self, timeout_s: float) -> list[T]:
        """Those added since the last call, as soon as there is one; none only after `timeout_s`."""
        self._something.wait(timeout_s)
        with self._lock:
            self._something.clear()
            arrived, self._arrived = list(self._arrived), {}
        return arrived

"""Tells a waiting thread which subscriptions have something for it."""

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streams.subscription import Subscription


class Arrivals:
    """Filled by the loop's thread, emptied by the one thread that waits."""

    def __init__(self) -> None:
        self._something = threading.Event()
        self._lock = threading.Lock()
        self._subscriptions: dict[Subscription, None] = {}

    def add(self, subscription: "Subscription") -> None:
        # Set under the lock: else a wait that has taken the subscription already would end the next one too.
        with self._lock:
            self._subscriptions[subscription] = None
            self._something.set()

    def wait(self, timeout_s: float) -> "list[Subscription]":
        """Those added since the last call, as soon as there is one; none only after `timeout_s`."""
        self._something.wait(timeout_s)
        with self._lock:
            self._something.clear()
            arrived, self._subscriptions = list(self._subscriptions), {}
        return arrived

"""Who waits for a confirm, a thread or a function on the loop, and the bytes that are under way."""

import asyncio
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from streams.errors import BrokerUnavailable

Done = Callable[[BrokerUnavailable | None], None]
"""Called after the confirm with None, else with the reason."""


@dataclass(slots=True)
class UnconfirmedBytes:
    """Bytes under way. Callers add to `admitted` under a lock; only the loop adds to `resolved`, without."""

    admitted: int = 0
    resolved: int = 0

    @property
    def open(self) -> int:
        return self.admitted - self.resolved


class Waiting(Protocol):
    """Who waits; of one that was abandoned nothing more is sent."""

    abandoned: bool

    def resolve(self, error: BrokerUnavailable | None) -> None: ...


class ConfirmCall:
    """A function that is called on the loop, once: with None after the confirm, else with the reason.

    What it raises goes to the loop's handler of exceptions, and never to who publishes for others too.
    """

    __slots__ = ("_done", "_loop", "_stream", "_timer", "abandoned")

    def __init__(self, stream: str, done: Done, loop: asyncio.AbstractEventLoop) -> None:
        self.abandoned = False
        self._stream = stream
        self._done = done
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None

    def expire_after(self, deadline_s: float) -> None:
        """Wait no longer than so many seconds from now."""
        self._timer = self._loop.call_later(deadline_s, self._expire, deadline_s)

    def resolve(self, error: BrokerUnavailable | None) -> None:
        """The message is confirmed (None), or will never be."""
        if not self.abandoned:
            if self._timer is not None:
                self._timer.cancel()
            self._call(error)

    def _expire(self, deadline_s: float) -> None:
        self.abandoned = True
        self._call(_unknown(self._stream, deadline_s))

    def _call(self, error: BrokerUnavailable | None) -> None:
        try:
            self._done(error)
        except Exception as raised:
            message = f"what waits for a confirm of {self._stream} failed"
            self._loop.call_exception_handler({"message": message, "exception": raised})


class ConfirmWaiter:
    """One calling thread's wait: a bare lock that the loop releases, the cheapest wake-up there is."""

    __slots__ = ("abandoned", "error", "left", "lock")

    def __init__(self, messages: int) -> None:
        self.lock = threading.Lock()
        self.lock.acquire()
        self.left = messages
        self.error: BrokerUnavailable | None = None
        self.abandoned = False

    def resolve(self, error: BrokerUnavailable | None) -> None:
        """One of the messages is confirmed (None), or will never be."""
        if error is not None:
            self.error = error
        self.left -= 1
        if self.left == 0:
            self.lock.release()

    def wait(self, deadline_s: float, stream: str) -> None:
        """Returns when every message is confirmed.

        Raises the error of one that was not, and BrokerUnavailable at the deadline.
        """
        if not self.lock.acquire(timeout=max(deadline_s, 0)) and self.left:
            self.abandoned = True
            raise _unknown(stream, deadline_s)
        if self.error is not None:
            raise self.error.with_traceback(None)  # several callers may get the same one


def _unknown(stream: str, deadline_s: float) -> BrokerUnavailable:
    return BrokerUnavailable(f"publishing to {stream}: no confirm within {deadline_s:g} s; outcome unknown")

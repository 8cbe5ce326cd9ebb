"""What callers' threads and the loop's thread share while a publish is under way."""

import threading
from dataclasses import dataclass

from streams.errors import BrokerUnavailable


@dataclass(slots=True)
class UnconfirmedBytes:
    """Bytes under way. Callers add to `admitted` under a lock; only the loop adds to `resolved`, without."""

    admitted: int = 0
    resolved: int = 0

    @property
    def open(self) -> int:
        return self.admitted - self.resolved


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
            raise BrokerUnavailable(
                f"publishing to {stream}: no confirm within {deadline_s:g} s; outcome unknown"
            )
        if self.error is not None:
            raise self.error.with_traceback(None)  # several callers may get the same one

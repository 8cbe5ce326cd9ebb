"""Look-ups that wait for the database, and the thread that takes all that wait together."""

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")
MOST_AT_ONCE = 500
"""Keys that are looked up by one query."""


@dataclass(frozen=True, slots=True)
class Lookup(Generic[T]):
    """`begun_at`: monotonic seconds."""

    found: Future[T | None]
    begun_at: float


class LookupThread(Generic[T]):
    """What was begun and is not ended, `most` at once. Only who holds `lock` may call, except `close`.

    `look_up` is called in the thread, with digests that were begun, and has to end them; it must not raise.
    A look-up waits for `gather_s` at most for others that go with it, and no longer once one is urgent.
    """

    def __init__(
        self,
        name: str,
        lock: threading.Lock,
        look_up: "Callable[[LookupThread[T], Sequence[bytes]], None]",
        *,
        most: int,
        gather_s: float = 0,
    ) -> None:
        self._lock = lock
        self._look_up = look_up
        self._most = most
        self._gather_s = gather_s
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._pending: dict[bytes, Lookup[T]] = {}
        # Those that the thread has not taken; while there are any, a call of `_take` is on its way.
        self._waiting: list[bytes] = []
        self._go = threading.Event()

    def ask(self, digest: bytes, *, urgent: bool, one_at_a_time: bool) -> Lookup[T] | None:
        """The look-up of this key that is under way, or a new one; None when no more may be begun, of which
        one is enough with `one_at_a_time`, or it is closed or has no thread.
        """
        lookup = self._pending.get(digest)
        if lookup is None and len(self._pending) < (1 if one_at_a_time else self._most):
            lookup = self._begin(digest)
        if self._waiting and (urgent or len(self._waiting) >= MOST_AT_ONCE):
            self._go.set()
        return lookup

    def end(self, digests: Sequence[bytes]) -> list[Future[T | None]]:
        """What these look-ups promised, in order: to be told by the caller when it has let go of the lock."""
        return [self._pending.pop(digest).found for digest in digests]

    def close(self) -> None:
        """Stop the thread; a look-up under way is not waited for, and what waits is never answered."""
        with self._lock:
            self._executor.shutdown(wait=False, cancel_futures=True)
            waiting, self._waiting = self._waiting, []
            promised = self.end(waiting)
        self._go.set()
        for found in promised:
            found.set_exception(CancelledError())

    def _begin(self, digest: bytes) -> Lookup[T] | None:
        if not self._waiting and not self._call_take():
            return None
        lookup: Lookup[T] = Lookup(Future(), time.monotonic())
        # Nobody who waits can cancel it, and spoil the answers of the others.
        lookup.found.set_running_or_notify_cancel()
        self._waiting.append(digest)
        self._pending[digest] = lookup
        return lookup

    def _call_take(self) -> bool:
        try:
            self._executor.submit(self._take)
        except RuntimeError:
            return False
        return True

    def _take(self) -> None:
        self._go.wait(self._gather_s)
        with self._lock:
            digests, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            if self._waiting:
                self._call_take()
            else:
                self._go.clear()
        if digests:
            self._look_up(self, digests)

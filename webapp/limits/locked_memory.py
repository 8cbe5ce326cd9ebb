"""Memory without a name that all workers of a receiver share, and locks on parts of it.

It is made before the fork and goes with the last process. The locks are record locks on its file; the kernel
takes them back from a process that dies.
"""

import fcntl
import mmap
import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

LOCK_WAIT_S = 0.05
"""A worker that was stopped while it held a lock holds the others up for so long, and no longer: they go on
without the lock, and the count may be off by what is under way."""


class LockedMemory:
    """Of `size` bytes, which are zeros at first. Thread-safe."""

    def __init__(self, name: str, size: int) -> None:
        self.file = os.memfd_create(name)
        os.ftruncate(self.file, size)
        self.page = mmap.mmap(self.file, size)
        self._let_go = weakref.finalize(self, os.close, self.file)
        self._thread_lock = threading.Lock()

    def follow(self, other: "LockedMemory") -> None:
        """Share the memory of `other` from now on."""
        self._let_go()
        self.file, self.page = other.file, other.page

    @contextmanager
    def locked(self, place: int) -> Iterator[None]:
        """Nobody else holds this place meanwhile, unless it was stopped while it did. Blocks for moments."""
        with self._thread_lock:
            locked = self._lock(place)
            try:
                yield
            finally:
                if locked:
                    self.unlock(place)

    def try_lock(self, place: int) -> bool:
        """Lock one byte; false when another process has it."""
        try:
            fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except BlockingIOError:
            return False
        return True

    def unlock(self, place: int) -> None:
        fcntl.lockf(self.file, fcntl.LOCK_UN, 1, place)

    def _lock(self, place: int) -> bool:
        """Lock one byte; false when another process does not let go of it."""
        end = 0.0
        while not self.try_lock(place):
            now = time.monotonic()
            end = end or now + LOCK_WAIT_S
            if now >= end:
                return False
            time.sleep(0.0002)
        return True

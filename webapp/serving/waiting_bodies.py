"""Bodies that are held: how long each is waited for, and how much all may hold."""

import time
from itertools import takewhile
from typing import Generic, Protocol, TypeVar

EARLY_S = 0.5
"""Seconds in which a small body that nobody wants is expected behind its head: so its connection is kept."""
GRACE_S = 10.0
"""Seconds in which a body may come as slowly as it likes."""
LEAST_BYTES = 4096
"""What a request that is answered counts at least: it holds more than its body."""
_LOOK_S = 1.0


class Holder(Protocol):
    """A connection. `held_bytes`: of a body, and of what came behind it. `begun_at`: when its head was whole,
    a `time.monotonic`. `wanted`: its body was admitted. `paused`: it is not read.
    """

    begun_at: float
    wanted: bool
    paused: bool

    @property
    def held_bytes(self) -> int: ...


H = TypeVar("H", bound=Holder)


class WaitingBodies(Generic[H]):
    """Of one loop.

    `deadline_s`: so long may a body take as a whole. `rate`: so many bytes a second must have come of it
    after GRACE_S. `most_bytes`: so much may all of them hold, those included that wait for their answers.
    """

    def __init__(self, *, deadline_s: float, rate: int, most_bytes: int) -> None:
        self._deadline_s = deadline_s
        self._rate = rate
        self._most_bytes = most_bytes
        self._held = self._held_answered = 0
        # In the order in which they began, with what each holds.
        self._unwanted: dict[H, int] = {}
        self._coming: dict[H, int] = {}
        self._answered: dict[H, int] = {}
        self._look_s = min(_LOOK_S, deadline_s / 4)
        self._look_at = 0.0

    def note(self, holder: H) -> H | None:
        """A body has begun, or more of it has come. Returns the one that is to give way when all together
        hold too much: the one that has been coming for longest, which is the slowest.
        """
        held = self._coming if holder.wanted else self._unwanted
        now = holder.held_bytes
        self._held += now - held.get(holder, 0)
        held[holder] = now
        return None if self._held <= self._most_bytes else self._slowest(holder)

    def wait(self, holder: H) -> H | None:
        """It has come, and is answered from now on. Returns what `note` does; that is the connection itself
        when those that are answered hold more than half, for what waits for a confirm takes no place of what
        is coming. One alone may hold all.
        """
        self.leave(holder)
        size = self._answered[holder] = max(holder.held_bytes, LEAST_BYTES)
        self._held += size
        self._held_answered += size
        if self._held <= self._most_bytes:
            return None
        crowded = len(self._answered) > 1 and self._held_answered > self._most_bytes / 2
        return holder if crowded else self._slowest(holder)

    def leave(self, holder: H) -> None:
        """It is answered, or not waited for any more."""
        for held in (self._answered, self._coming, self._unwanted):
            if (size := held.pop(holder, None)) is not None:
                self._held -= size
                if held is self._answered:
                    self._held_answered -= size
                return

    def given_up(self) -> list[H]:
        """Those whose bodies nobody wants and that did not come in time."""
        due = time.monotonic() - EARLY_S
        return list(takewhile(lambda holder: holder.begun_at <= due, self._unwanted))

    def coming(self) -> list[H]:
        """Those that were admitted and are not whole."""
        return list(self._coming)

    def too_slow(self) -> list[H]:
        """Those that should not be waited for any more; looks once a second."""
        now = time.monotonic()
        if not self._coming or now < self._look_at:
            return []
        self._look_at = now + self._look_s
        read = [holder for holder in self._coming if not holder.paused]
        return [holder for holder in read if self._is_too_slow(holder, now - holder.begun_at)]

    def _slowest(self, holder: H) -> H:
        return next(iter(self._coming), None) or next(iter(self._unwanted), holder)

    def _is_too_slow(self, holder: H, age_s: float) -> bool:
        return age_s > self._deadline_s or (age_s > GRACE_S and holder.held_bytes < self._rate * age_s)

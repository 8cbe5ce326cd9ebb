"""Bodies that no thread has yet: how long each is waited for, and how much all may hold."""

import time

from webapp.serving.connection import AgentConnection

EARLY_S = 0.5
"""Seconds in which a small body is expected behind its head, before the head is looked at without it."""
GRACE_S = 10.0
"""Seconds in which a body may come as slowly as it likes."""
_LOOK_S = 1.0


class WaitingBodies:
    """Of one worker's main loop.

    `deadline_s`: so long may a body take as a whole. `rate`: so many bytes a second must have come of it
    after GRACE_S. `most_bytes`: so much may all of them hold, those included that came and wait for a thread.
    """

    def __init__(self, *, deadline_s: float, rate: int, most_bytes: int) -> None:
        self._deadline_s = deadline_s
        self._rate = rate
        self._most_bytes = most_bytes
        self._held = 0
        # In the order in which they began, with what each holds.
        self._early: dict[AgentConnection, int] = {}
        self._late: dict[AgentConnection, int] = {}
        self._waiting: dict[AgentConnection, int] = {}
        self._look_s = min(_LOOK_S, deadline_s / 4)
        self._look_at = 0.0

    def __contains__(self, conn: AgentConnection) -> bool:
        return conn in self._early or conn in self._late

    def note(self, conn: AgentConnection) -> AgentConnection | None:
        """A body has begun, or more of it has come. Returns the one that is to give way when all together
        hold too much: the one that has been coming for longest, which is the slowest.
        """
        return self._hold(self._early if conn.decision is None else self._late, conn)

    def wait(self, conn: AgentConnection) -> AgentConnection | None:
        """It waits for a thread from now on, to be answered or looked at. Returns what `note` does; that is
        the connection itself when no body is coming that could give way.
        """
        return self._hold(self._waiting, conn)

    def leave(self, conn: AgentConnection) -> None:
        """A thread has it, or it is not waited for any more."""
        for held in (self._early, self._late, self._waiting):
            self._held -= held.pop(conn, 0)

    def without_body(self) -> list[AgentConnection]:
        """Those whose heads should be looked at now."""
        due = time.monotonic() - EARLY_S
        found = []
        for conn in self._early:
            if conn.begun_at > due:
                break
            found.append(conn)
        return found

    def too_slow(self) -> list[AgentConnection]:
        """Those that should not be waited for any more; looks once a second."""
        now = time.monotonic()
        if not self._late or now < self._look_at:
            return []
        self._look_at = now + self._look_s
        return [conn for conn in self._late if self._is_too_slow(conn, now - conn.begun_at)]

    def wait_s(self) -> float:
        """Seconds until one of them may be due."""
        if not self._early:
            return self._look_s
        return max(0.0, next(iter(self._early)).begun_at + EARLY_S - time.monotonic())

    def _hold(self, held: dict[AgentConnection, int], conn: AgentConnection) -> AgentConnection | None:
        now = conn.held_bytes
        self._held += now - held.get(conn, 0)
        held[conn] = now
        if self._held <= self._most_bytes:
            return None
        return next(iter(self._late), None) or next(iter(self._early), conn)

    def _is_too_slow(self, conn: AgentConnection, age_s: float) -> bool:
        return age_s > self._deadline_s or (age_s > GRACE_S and conn.held_bytes < self._rate * age_s)

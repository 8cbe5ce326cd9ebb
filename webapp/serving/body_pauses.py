"""Back-pressure: while too much waits for room in a stream, no more bodies are read for it."""

import time
from dataclasses import dataclass, field
from itertools import islice
from typing import Generic, Protocol, TypeVar

LEAST_BYTES = 16 * 1024
"""What a body that is read again counts at least; of chunks the length is not known."""
LEAST_AT_ONCE, MOST_AT_ONCE = 8, 256
"""So many bodies are read again at once, as far as their lengths fit in half a stream's share; the least in
any case, for those that are read again may not come.
"""


class Pausable(Protocol):
    """A connection. `begun_at`: a `time.monotonic`, which moves on by the time that it was paused."""

    begun_at: float
    paused: bool

    def pause_body(self) -> None: ...
    def resume_body(self) -> None:
        """Nothing is read or published before this returns."""


P = TypeVar("P", bound=Pausable)


@dataclass(frozen=True, slots=True)
class _Pause:
    """`time.monotonic`s: when it began, and when the body is not to wait any longer."""

    since: float
    until: float


@dataclass(slots=True)
class _Bodies(Generic[P]):
    """Of one stream. `queued`: bytes that wait for room; `whole`: of bodies that have come and wait for their
    keys. `reading`: the others, each with the seconds for which it may still be paused. `paused`: those whose
    turn it is first.
    """

    stream: str
    queued: int = 0
    whole: dict[P, int] = field(default_factory=dict)
    whole_bytes: int = 0
    crowded: bool = False
    reading: dict[P, float] = field(default_factory=dict)
    paused: dict[P, _Pause] = field(default_factory=dict)

    @property
    def held(self) -> int:
        return self.queued + self.whole_bytes


class BodyPauses(Generic[P]):
    """Of one loop.

    A stream is crowded from half of `stream_bytes` on, until a quarter; and all streams of which anything
    waits, from three quarters of `most_bytes` on, until half. The bodies that come for it are paused at once,
    so that what was read has room, and are read again in turn. `most_s`: so many seconds in all may a body be
    paused.
    """

    def __init__(self, *, stream_bytes: int, most_bytes: int, most_s: float) -> None:
        self._stream_bytes = stream_bytes
        self._most_bytes = most_bytes
        self._most_s = most_s
        self._streams: dict[str, _Bodies[P]] = {}
        # Where each body goes, and its length.
        self._bodies: dict[P, tuple[_Bodies[P], int]] = {}
        self._held = 0
        self._full = False

    def join(self, body: P, stream: str, length: int | None) -> None:
        """It begins to come; it is paused when the stream is crowded, or others wait for their turns."""
        bodies = self._of(stream)
        self._bodies[body] = bodies, length or 0
        bodies.reading[body] = self._most_s
        if bodies.crowded or bodies.paused:
            _pause(bodies, body, time.monotonic())

    def hold(self, body: P, size: int) -> None:
        """It is whole, in so many bytes, and has to wait before it is published, if it has joined."""
        if body in self._bodies:
            bodies, length = self._bodies[body]
            self.leave(body)
            bodies = self._of(bodies.stream)
            self._bodies[body] = bodies, length
            bodies.whole[body] = size
            bodies.whole_bytes += size
            self._changed(bodies, size)

    def leave(self, body: P) -> None:
        """It is published, or not waited for any more."""
        body.paused = False
        bodies, _ = self._bodies.pop(body, (None, 0))
        if bodies is not None:
            bodies.reading.pop(body, None)
            bodies.paused.pop(body, None)
            size = bodies.whole.pop(body, 0)
            bodies.whole_bytes -= size
            self._changed(bodies, -size)
            if bodies.paused and not bodies.crowded:
                self._resume(bodies, time.monotonic(), 1)

    def queued(self, stream: str, held: int) -> None:
        """So many bytes wait now for room in this stream."""
        bodies = self._of(stream)
        more = held - bodies.queued
        bodies.queued = held
        self._changed(bodies, more)

    def sweep(self) -> list[P]:
        """Reads more again where there is room; returns those that have been paused for too long."""
        now = time.monotonic()
        late: list[P] = []
        for bodies in self._streams.values():
            if bodies.paused:
                if not bodies.crowded:
                    self._resume(bodies, now)
                late += [body for body, pause in bodies.paused.items() if pause.until <= now]
        return late

    def _of(self, stream: str) -> _Bodies[P]:
        bodies = self._streams.get(stream)
        if bodies is None:
            bodies = self._streams[stream] = _Bodies(stream)
        return bodies

    def _changed(self, bodies: _Bodies[P], more: int) -> None:
        self._held += more
        most = self._most_bytes / 2 if self._full else self._most_bytes * 3 / 4
        if (full := self._held > most) is not self._full:
            self._full = full
            for other in self._streams.values():
                self._look(other)
        self._look(bodies)
        if not (bodies.queued or bodies.whole or bodies.reading or bodies.paused):
            self._streams.pop(bodies.stream, None)

    def _look(self, bodies: _Bodies[P]) -> None:
        held = bodies.held
        most = self._stream_bytes / 4 if bodies.crowded else self._stream_bytes / 2
        crowded = held > 0 and (self._full or held > most)
        if crowded is bodies.crowded:
            return
        bodies.crowded = crowded
        now = time.monotonic()
        if crowded:
            for body in list(bodies.reading):
                _pause(bodies, body, now)
        else:
            self._resume(bodies, now)

    def _resume(self, bodies: _Bodies[P], now: float, most: int = MOST_AT_ONCE) -> None:
        room = self._stream_bytes / 2 - bodies.held
        for count, body in enumerate(list(islice(bodies.paused, most))):
            room -= max(self._bodies[body][1], LEAST_BYTES)
            if room < 0 and count >= LEAST_AT_ONCE:
                return
            pause = bodies.paused.pop(body)
            bodies.reading[body] = pause.until - now
            body.begun_at += now - pause.since
            body.paused = False
            body.resume_body()


def _pause(bodies: _Bodies[P], body: P, now: float) -> None:
    bodies.paused[body] = _Pause(now, now + bodies.reading.pop(body))
    body.paused = True
    body.pause_body()

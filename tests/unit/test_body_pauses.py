"""Which bodies are paused while too much waits in their streams, and in what order they are read again."""

import time
from dataclasses import dataclass

import pytest

from webapp.serving.body_pauses import LEAST_AT_ONCE, BodyPauses

STREAM = 1000_000
MOST_S = 5.0


@dataclass(eq=False)
class PausableBody:
    """A connection with a body that comes. `turns`: how often it was paused, and how often read again."""

    name: int = 0
    begun_at: float = 0.0
    paused: bool = False
    turns: tuple[int, int] = (0, 0)

    def pause_body(self) -> None:
        self.turns = self.turns[0] + 1, self.turns[1]

    def resume_body(self) -> None:
        self.turns = self.turns[0], self.turns[1] + 1


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def pauses() -> BodyPauses[PausableBody]:
    return BodyPauses(stream_bytes=STREAM, most_bytes=2 * STREAM, most_s=MOST_S)


def joined(bodies: BodyPauses[PausableBody], stream: str, count: int, length: int) -> list[PausableBody]:
    coming = [PausableBody(number) for number in range(count)]
    for body in coming:
        bodies.join(body, stream, length)
    return coming


def read(coming: list[PausableBody]) -> list[int]:
    return [body.name for body in coming if not body.paused]


def test_all_of_a_crowded_stream_are_paused_and_read_again_in_turn(now: list[float]) -> None:
    bodies = pauses()
    coming, other = joined(bodies, "a", 40, STREAM // 40), joined(bodies, "b", 2, STREAM)
    bodies.queued("a", STREAM // 2)
    assert len(read(coming)) == 40
    bodies.queued("a", STREAM // 2 + 1)
    assert read(coming) == []
    late = PausableBody(40)
    bodies.join(late, "a", None)
    assert late.paused
    # Nothing changes until a quarter; then as many as fit below a half, of those that began first.
    bodies.queued("a", STREAM // 4 + 1)
    bodies.sweep()
    assert read(coming) == []
    bodies.queued("a", STREAM // 4)
    assert read(coming) == list(range(10))
    assert len(read(other)) == 2
    # One that begins now does not overtake those that wait.
    newest = PausableBody(41)
    bodies.join(newest, "a", None)
    assert newest.paused
    # When all are paused anew, those that were read have their next turn behind the others.
    bodies.queued("a", STREAM)
    assert read(coming) == []
    bodies.queued("a", STREAM // 4)
    assert read(coming) == list(range(10, 20))
    for _ in range(4):
        bodies.sweep()
    assert len(read([*coming, late, newest])) == 42
    # No one was told twice.
    assert [body.turns for body in (coming[0], coming[10], late, other[0])] == [
        (2, 2),
        (1, 1),
        (1, 1),
        (0, 0),
    ]


def test_where_one_was_read_the_next_one_is(now: list[float]) -> None:
    bodies = pauses()
    coming = joined(bodies, "a", 14, STREAM // 20)
    bodies.queued("a", STREAM)
    bodies.leave(coming[0])
    assert read(coming[1:]) == []
    bodies.queued("a", 0)
    assert read(coming[1:]) == list(range(1, 11))
    bodies.leave(coming[1])
    bodies.leave(coming[2])
    assert read(coming[1:]) == list(range(1, 13))


def test_some_are_read_again_however_large_they_are(now: list[float]) -> None:
    bodies = pauses()
    coming = joined(bodies, "a", 3 * LEAST_AT_ONCE, 2 * STREAM)
    bodies.queued("a", STREAM)
    bodies.queued("a", 0)
    assert read(coming) == list(range(LEAST_AT_ONCE))
    bodies.sweep()
    assert read(coming) == list(range(2 * LEAST_AT_ONCE))


def test_a_body_is_paused_for_so_long_in_all_and_that_time_is_not_its_own(now: list[float]) -> None:
    bodies = pauses()
    [body] = joined(bodies, "a", 1, 1)
    bodies.queued("a", STREAM)
    now[0] += MOST_S - 1
    assert bodies.sweep() == []
    bodies.queued("a", 0)
    assert body.begun_at == MOST_S - 1
    now[0] += 100
    bodies.queued("a", STREAM)
    assert bodies.sweep() == []
    now[0] += 1
    assert bodies.sweep() == [body]
    bodies.leave(body)
    assert not body.paused
    assert bodies.sweep() == []


def test_whole_bodies_that_wait_for_their_keys_crowd_a_stream(now: list[float]) -> None:
    bodies = pauses()
    coming, unknown = joined(bodies, "a", 3, STREAM), PausableBody()
    bodies.hold(unknown, STREAM)
    bodies.hold(coming[0], STREAM // 3)
    assert len(read(coming)) == 3
    bodies.hold(coming[1], STREAM // 3)
    assert read(coming) == [0, 1]
    bodies.leave(coming[0])
    bodies.leave(coming[1])
    assert read(coming) == [0, 1, 2]


def test_streams_that_fill_the_process_together_are_paused_and_no_others(now: list[float]) -> None:
    bodies = pauses()
    small, none = joined(bodies, "small", 1, 1), joined(bodies, "none", 1, 1)
    bodies.queued("small", 1)
    for stream in ("a", "b", "c"):
        bodies.queued(stream, STREAM // 2)
    assert [len(read(small)), len(read(none))] == [0, 1]
    # Its own queue is gone.
    bodies.queued("small", 0)
    assert len(read(small)) == 1
    bodies.queued("small", 1)
    assert len(read(small)) == 0
    for stream in ("a", "b", "c"):
        bodies.queued(stream, STREAM // 4)
    assert len(read(small)) == 1


def test_nothing_is_kept_of_streams_that_nobody_sends_to(now: list[float]) -> None:
    bodies = pauses()
    coming = joined(bodies, "a", 3, 1)
    bodies.queued("a", STREAM)
    bodies.hold(coming[0], 1)
    # In chunks, of which the first was the last.
    [empty] = joined(bodies, "b", 1, 0)
    bodies.hold(empty, 0)
    assert "b" in bodies._streams
    for body in [*coming, *coming, empty]:
        bodies.leave(body)
    bodies.queued("a", 0)
    assert not bodies._streams
    assert not bodies._bodies
    assert bodies._held == 0

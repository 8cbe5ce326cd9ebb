"""Who gives way when the bodies that are held are too many bytes."""

import time
from dataclasses import dataclass

import pytest

from webapp.serving.waiting_bodies import GRACE_S, LEAST_BYTES, WaitingBodies

MOST = 100 * LEAST_BYTES


@dataclass(eq=False)
class HeldBody:
    """A connection with so many bytes of a body."""

    held_bytes: int
    begun_at: float = 0.0
    wanted: bool = True
    paused: bool = False


def test_what_is_answered_takes_no_place_of_what_is_coming() -> None:
    bodies = WaitingBodies[HeldBody](deadline_s=30, rate=0, most_bytes=MOST)
    slow, second = HeldBody(MOST // 4), HeldBody(MOST // 4)
    assert bodies.note(slow) is bodies.note(second) is None
    stuck = [HeldBody(MOST // 4) for _ in range(3)]
    assert bodies.wait(stuck[0]) is bodies.wait(stuck[1]) is None
    assert bodies.wait(stuck[2]) is stuck[2]
    bodies.leave(stuck[2])
    bodies.leave(stuck[1])
    # Those that are coming hold more than their half now.
    slow.held_bytes = MOST // 2
    assert bodies.note(slow) is None
    assert bodies.wait(HeldBody(LEAST_BYTES)) is slow


def test_one_alone_may_hold_all() -> None:
    bodies = WaitingBodies[HeldBody](deadline_s=30, rate=0, most_bytes=MOST)
    slow, large = HeldBody(1), HeldBody(MOST)
    assert bodies.note(slow) is None
    assert bodies.wait(large) is slow
    bodies.leave(slow)
    assert bodies.wait(large) is None


def test_a_small_request_that_is_answered_counts_for_more_than_its_body() -> None:
    bodies = WaitingBodies[HeldBody](deadline_s=30, rate=0, most_bytes=MOST)
    small = [HeldBody(1) for _ in range(101)]
    assert [bodies.wait(one) for one in small] == [None] * 100 + [small[100]]
    for one in small:
        bodies.leave(one)
    assert bodies.wait(HeldBody(MOST)) is None


def test_a_body_that_is_paused_is_not_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    bodies = WaitingBodies[HeldBody](deadline_s=30, rate=1000, most_bytes=MOST)
    paused, slow = HeldBody(1, paused=True), HeldBody(1)
    bodies.note(paused)
    bodies.note(slow)
    now[0] = GRACE_S + 1
    assert bodies.too_slow() == [slow]
    bodies.leave(slow)
    # It is read again.
    paused.paused, paused.begun_at = False, now[0]
    now[0] += GRACE_S - 1
    assert bodies.too_slow() == []
    now[0] += 2
    assert bodies.too_slow() == [paused]

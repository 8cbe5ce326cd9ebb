"""How long a customer is left alone after its errand failed, and which errand comes first."""

import threading
from collections.abc import Iterator
from functools import partial

import pytest

from tasks.dispatcher.raw_streams import errands
from tasks.dispatcher.raw_streams.errands import AT_ONCE, MOST_PAUSE_S, PAUSE_S, Done, Errands
from tests.receiver import until

ONE, OTHER = 1, 2
DEADLINE_S = 30.0
MOMENT_S = 0.001


class StoppedClock:
    """In place of `time` in the module of errands; stands still."""

    now_s = 1_000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StoppedClock:
    clock = StoppedClock()
    monkeypatch.setattr(errands, "time", clock)
    return clock


@pytest.fixture
def some() -> Iterator[Errands[str]]:
    some = Errands[str]()
    yield some
    some.close()


def left_alone_s(some: Errands[str], clock: StoppedClock) -> float:
    """How long it takes until the customer may go; the clock stands at that time afterwards."""
    began_s = clock.now_s
    while not some.may_go(ONE):
        clock.now_s += PAUSE_S / 2
    return clock.now_s - began_s


def test_each_further_failure_doubles_the_pause_up_to_the_most(
    some: Errands[str], clock: StoppedClock
) -> None:
    pauses = []
    for _ in range(8):
        some.failed(ONE)
        assert some.may_go(OTHER), "a pause is the customer's own"
        pauses.append(left_alone_s(some, clock))
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, MOST_PAUSE_S, MOST_PAUSE_S, MOST_PAUSE_S]


def test_a_pause_ends_at_its_end_and_not_before(some: Errands[str], clock: StoppedClock) -> None:
    some.failed(ONE)
    clock.now_s += PAUSE_S - MOMENT_S
    assert not some.may_go(ONE)
    clock.now_s += MOMENT_S
    assert some.may_go(ONE)


def test_a_success_makes_the_next_failure_the_first(some: Errands[str], clock: StoppedClock) -> None:
    for _ in range(4):
        some.failed(ONE)
    some.succeeded(ONE)
    assert some.may_go(ONE)
    some.failed(ONE)
    assert left_alone_s(some, clock) == PAUSE_S


def test_what_was_not_the_customers_own_fault_does_not_lengthen_its_pause(
    some: Errands[str], clock: StoppedClock
) -> None:
    some.failed(ONE)
    for _ in range(5):
        some.postpone(ONE)
        assert left_alone_s(some, clock) == PAUSE_S
    some.failed(ONE)
    assert left_alone_s(some, clock) == 2 * PAUSE_S


def test_a_place_that_becomes_free_is_for_who_never_failed(some: Errands[str]) -> None:
    one_may_end, all_may_end = threading.Event(), threading.Event()
    began: list[int] = []

    def errand(customer: int, may_end: threading.Event) -> str:
        began.append(customer)
        assert may_end.wait(DEADLINE_S)
        return "done"

    try:
        some.go(0, partial(errand, 0, one_may_end))
        for customer in range(1, AT_ONCE):
            some.go(customer, partial(errand, customer, all_may_end))
        failed, well = AT_ONCE, AT_ONCE + 1
        some.failed(failed)
        for customer in (failed, well):
            some.go(customer, partial(errand, customer, all_may_end))
        one_may_end.set()
        done = until(lambda: list(some.done()), "the first errand to end")
        assert done == [Done(0, "done", None)]
        until(lambda: len(began) > AT_ONCE, "the next errand to begin")
        assert well in began
        assert failed not in began
    finally:
        one_may_end.set()
        all_may_end.set()

"""The throttle: never more events than it says, evenly, and what is changed counts at once."""

from hypothesis import given, settings, strategies as st

from tasks.dispatcher.scheduling.pace import BURST_S, FIRST_GUESS, SLACK_S, Pace


class ManualClock:
    """A clock that a test turns."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now


@settings(max_examples=50)
@given(
    st.floats(min_value=1, max_value=1e6),
    st.lists(st.tuples(st.floats(min_value=0, max_value=2), st.integers(1, 10**6)), min_size=1, max_size=200),
)
def test_in_any_time_no_more_goes_than_the_throttle_and_one_window(
    rate: float, tries: list[tuple[float, int]]
) -> None:
    clock = ManualClock()
    pace = Pace(clock=clock)
    pace.learn({1: (1, 10)})
    gone: list[tuple[float, float]] = []
    for pause, size in tries:
        clock.now += pause
        if pace.may_go(1, rate):
            pace.went(1, size, rate)
            gone.append((clock.now, size / 10))
    for first, (begun, _) in enumerate(gone):
        events = [events for _, events in gone[first:]]
        took = gone[-1][0] - begun
        assert sum(events) <= (rate * (took + SLACK_S) + max(events)) * (1 + 1e-9) + 1e-6


def test_windows_follow_each_other_evenly_at_the_rate() -> None:
    clock = ManualClock()
    pace = Pace(clock=clock)
    pace.learn({1: (100, 1_000)})
    went = 0
    while clock.now < 1_100.0:
        if pace.may_go(1, 50):
            pace.went(1, 250, 50)
            went += 25
        clock.now += 0.3
    assert 100 * 50 * 0.97 <= went <= 100.5 * 50 + 25


def test_a_pause_is_not_saved_up() -> None:
    clock = ManualClock()
    pace = Pace(clock=clock)
    pace.went(1, 5_000, 100)
    clock.now += 3_600
    went = 0
    while pace.may_go(1, 100):
        pace.went(1, 500, 100)
        went += 1
    assert went * 500 * FIRST_GUESS <= 100 * SLACK_S + 500 * FIRST_GUESS


def test_a_throttle_that_is_lifted_or_raised_frees_at_once() -> None:
    clock = ManualClock()
    pace = Pace(clock=clock)
    pace.went(1, 1_000_000, 1)
    clock.now += 10
    assert not pace.may_go(1, 1)
    assert not pace.may_go(1, 1_000)
    assert pace.may_go(1, 10_000)
    assert pace.may_go(1, None)


def test_what_a_window_really_held_counts_as_soon_as_it_is_known() -> None:
    clock = ManualClock()
    pace = Pace(clock=clock)
    pace.went(1, 1_000, 10)
    clock.now += 1_000 * FIRST_GUESS / 10
    assert pace.may_go(1, 10)
    pace.learn({1: (1_000, 1_000)})
    assert not pace.may_go(1, 10)
    clock.now += 100
    assert pace.may_go(1, 10)


def test_a_throttled_window_aims_at_a_seconds_worth() -> None:
    pace = Pace()
    assert pace.most_events(100_000, 500) == 500 * BURST_S
    assert pace.most_events(100_000, 10**9) == 100_000
    assert pace.most_events(100_000, 0.1) == 1
    assert pace.most_events(100_000, None) == 100_000

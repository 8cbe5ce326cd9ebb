"""The leaky bucket: never more than its bound, and nothing is refused for ever."""

from hypothesis import given, strategies as st

from webapp.limits.leaky_bucket import BURST_S, left, wait_s

RATES = st.floats(min_value=0.01, max_value=1e9)
COSTS = st.floats(min_value=0, max_value=1e8)


@given(RATES, st.lists(st.tuples(st.floats(min_value=0, max_value=100), COSTS), max_size=60))
def test_in_any_time_no_more_is_let_through_than_the_rate_and_one_burst_or_batch(
    rate: float, tries: list[tuple[float, float]]
) -> None:
    spent, now = 0.0, 0.0
    through: list[tuple[float, float]] = []
    for pause, cost in tries:
        spent, now = left(spent, rate, pause), now + pause
        if not wait_s(spent, rate, cost):
            spent += cost
            through.append((now, cost))
    for first, (begun, _) in enumerate(through):
        total = 0.0
        for at, cost in through[first:]:
            total += cost
            largest = max(one for _, one in through[first:])
            most = rate * (at - begun) + max(rate * BURST_S, largest)
            assert total <= most * (1 + 1e-9) + 1e-6


@given(RATES, COSTS, COSTS)
def test_who_waits_as_long_as_was_said_is_let_through(rate: float, spent: float, cost: float) -> None:
    after = left(spent, rate, wait_s(spent, rate, cost))
    assert wait_s(after, rate, cost) <= 1e-6 * (1 + spent / rate)


@given(RATES, COSTS)
def test_an_empty_bucket_takes_any_cost(rate: float, cost: float) -> None:
    assert wait_s(0.0, rate, cost) == 0


@given(RATES, st.integers(min_value=1, max_value=100))
def test_one_seconds_worth_may_come_at_once(rate: float, parts: int) -> None:
    spent = 0.0
    for _ in range(parts):
        # As many parts as fit exactly, but for the rounding of their sum.
        assert wait_s(spent, rate, rate / parts) * rate <= rate * 1e-9
        spent += rate / parts
    assert wait_s(spent, rate, rate / parts) > 0


@given(RATES, COSTS, st.floats(min_value=-100, max_value=0))
def test_a_clock_that_stands_still_or_goes_back_gives_nothing(rate: float, spent: float, by: float) -> None:
    assert left(spent, rate, by) == spent

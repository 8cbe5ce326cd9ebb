"""What agents are asked for near a limit: nothing when it is far, and what keeps them below it when near."""

import pytest

from webapp.limits.leaky_bucket import BURST_S
from webapp.limits.wishes import ASK_FROM, DAY_S, NONE, Wishes, all_of, of_day, of_rate


def test_far_from_a_limit_nothing_is_asked_for() -> None:
    assert of_rate(ASK_FROM * 1000 * BURST_S - 1, 1000, bytes_=True) is NONE
    assert of_day(799, 1000, 10, 1000.0, bytes_=True) is NONE
    assert all_of([NONE, NONE]) is NONE
    assert NONE.headers() == {}


def test_near_a_rate_an_agent_waits_until_it_is_worked_off() -> None:
    assert of_rate(900, 1000, bytes_=True) == Wishes(after_s=0.9, most_bytes=500)
    # A batch that was larger than what fits at once.
    assert of_rate(5000, 1000, bytes_=True).after_s == 5.0
    assert of_rate(9, 10, bytes_=False).most_bytes is None


def test_the_rest_of_a_day_lasts_when_the_agent_does_as_it_is_asked() -> None:
    used, allowed, size, left_s = 9_000, 10_000, 10, DAY_S / 2
    wishes = of_day(used, allowed, size, left_s, bytes_=True)
    assert wishes.after_s is not None
    assert wishes.sample is not None
    assert left_s / wishes.after_s * size == pytest.approx(allowed - used)
    # As much as came in the first half, sampled.
    assert used * wishes.sample == pytest.approx(allowed - used)
    assert wishes.most_bytes == 1_000
    # In the last minutes the rest suffices for all that will come.
    assert of_day(used, allowed, size, 60.0, bytes_=True).sample is None


def test_what_meets_all_is_asked_for() -> None:
    found = all_of([Wishes(after_s=2, most_bytes=10), NONE, Wishes(after_s=1, sample=0.5, most_bytes=20)])
    assert found == Wishes(after_s=2, most_bytes=10, sample=0.5)


@pytest.mark.parametrize(
    ("wishes", "headers"),
    [
        (Wishes(after_s=0.01), {"Sluice-Next-Batch-After": "1"}),
        (Wishes(after_s=9e9), {"Sluice-Next-Batch-After": "300"}),
        (Wishes(most_bytes=0), {"Sluice-Next-Batch-Max-Bytes": "1"}),
        (Wishes(sample=0.0), {"Sluice-Sample": "0.001"}),
        (Wishes(sample=0.25), {"Sluice-Sample": "0.250"}),
    ],
)
def test_the_headers_are_within_their_bounds(wishes: Wishes, headers: dict[str, str]) -> None:
    assert wishes.headers() == headers

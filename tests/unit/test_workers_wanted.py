"""How many worker processes are wanted, from what they did and what is owed."""

from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from tasks.measures.wanted import MOST_TIMES, Capacity, QueueLoad

MIB = 1024 * 1024
TARGET_S = 10.0
# One of two processes was busy all the time, and worked a megabyte off a second.
STEADY = QueueLoad(
    seconds=5.0,
    processes=2,
    deposited_bytes=5 * MIB,
    in_flight_s=5.0,
    owed_bytes=0.0,
    owed_bytes_before=0.0,
    oldest_owed_s=0.2,
)


def learned() -> Capacity:
    capacity = Capacity(target_s=TARGET_S)
    for _ in range(20):
        capacity.wanted(STEADY)
    return capacity


def late(mib: int, **changes: float) -> QueueLoad:
    """So many megabytes are owed, as they were before, and nothing was deposited."""
    owed = replace(
        STEADY, owed_bytes=float(mib * MIB), owed_bytes_before=float(mib * MIB), oldest_owed_s=60.0
    )
    return replace(owed, **changes)  # type: ignore[arg-type] # every field is a number


def test_a_steady_load_wants_what_it_needs_and_some_room() -> None:
    assert learned().wanted(STEADY) == 2


def test_a_third_of_the_load_can_do_with_one_process() -> None:
    less = replace(STEADY, deposited_bytes=STEADY.deposited_bytes // 3, in_flight_s=STEADY.in_flight_s / 3)
    capacity = learned()
    for _ in range(20):
        wanted = capacity.wanted(less)
    assert wanted == 1


def test_a_larger_backlog_wants_more_processes() -> None:
    wanted = [learned().wanted(late(mib)) for mib in (20, 60, 100, 150)]
    assert wanted == sorted(set(wanted))
    assert wanted[0] > 2


def test_what_is_late_but_shrinks_does_not_want_one_more_for_that_alone() -> None:
    capacity = Capacity(target_s=TARGET_S)
    grows = late(0, oldest_owed_s=60.0)
    assert capacity.wanted(grows) == 3
    shrinks = replace(grows, owed_bytes=1.0, owed_bytes_before=2.0, deposited_bytes=1)
    assert capacity.wanted(shrinks) < 3


def test_without_a_worker_one_is_wanted_at_least() -> None:
    idle = replace(STEADY, processes=0, deposited_bytes=0, in_flight_s=0.0)
    assert Capacity(target_s=TARGET_S).wanted(idle) == 1
    assert learned().wanted(replace(late(100), processes=0, deposited_bytes=0, in_flight_s=0.0)) > 1


@given(
    loads=st.lists(
        st.builds(
            QueueLoad,
            seconds=st.floats(0.001, 3600),
            processes=st.integers(0, 1000),
            deposited_bytes=st.integers(0, 10**12),
            in_flight_s=st.floats(0, 10**6),
            owed_bytes=st.floats(0, 1e15),
            owed_bytes_before=st.floats(0, 1e15),
            oldest_owed_s=st.floats(0, 1e7),
        ),
        min_size=1,
        max_size=10,
    )
)
def test_no_history_asks_for_none_or_for_too_many(loads: list[QueueLoad]) -> None:
    capacity = Capacity(target_s=TARGET_S)
    for load in loads:
        assert 1 <= capacity.wanted(load) <= max(MOST_TIMES * max(1, load.processes), load.processes + 1)


@pytest.mark.parametrize("target_s", [1.0, 60.0])
def test_what_is_younger_than_the_target_is_no_backlog(target_s: float) -> None:
    capacity = Capacity(target_s=target_s)
    for _ in range(20):
        capacity.wanted(STEADY)
    assert capacity.wanted(late(1, oldest_owed_s=target_s / 2)) <= 3

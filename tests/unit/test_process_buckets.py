"""Buckets, and sums that would not fit."""

import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, strategies as st

from tasks.processors import ROLLUPS, merge_rollups
from tasks.processors.buckets import ENDS, LAST, buckets, value
from tasks.processors.groups import packed
from tests.unit.rollups_by_hand import bucket_by_hand

ENDS_AND_NEXT = sorted(
    {int(end) + more for end in ENDS if end < 2**63 - 2 for more in (0, 1)} | {0, 2**63 - 1}
)


def test_every_end_of_a_bucket_and_the_next_duration_are_where_exact_arithmetic_puts_them() -> None:
    found = buckets(np.array(ENDS_AND_NEXT, dtype=np.int64))
    assert found.tolist() == [bucket_by_hand(duration) for duration in ENDS_AND_NEXT]
    assert found.max() == LAST


@given(st.lists(st.integers(0, 2**53), min_size=1))
def test_the_value_of_a_bucket_is_within_five_percent_of_what_is_in_it(durations: list[int]) -> None:
    for duration, bucket in zip(durations, buckets(np.array(durations)), strict=True):
        assert bucket == bucket_by_hand(duration)
        assert duration == 0 or abs(value(int(bucket)) - duration) <= 0.05 * duration


@given(st.integers(2, 3 * 10**12))
def test_logarithms_give_the_same_bucket_up_to_36_days(duration: int) -> None:
    assert bucket_by_hand(duration) == math.ceil(math.log(duration) / math.log(1.1))


def rollup(duration_sum: int) -> pa.Table:
    row = {"minute": 0, "service": "s", "operation": "o", "status": "ok", "bucket": 1, "count": 2}
    row |= {"duration_sum": duration_sum, "duration_min": 0, "duration_max": 2**53}
    return pa.table([pa.array([row[field.name]], field.type) for field in ROLLUPS], schema=ROLLUPS)


@pytest.mark.parametrize(
    ("sums", "merged"),
    [
        ([2**62, 2**62 - 1], 2**63 - 1),
        ([2**62, 2**62 - 2], 2**63 - 2),
        ([2**62, 2**62], 2**63 - 1),
        ([2**63 - 1, 2**63 - 1, 1], 2**63 - 1),
        ([2**32 - 1] * 3, 3 * 2**32 - 3),
        ([2**62, 2**32 - 1, 2**32 - 1], 2**62 + 2**33 - 2),
    ],
)
def test_a_sum_stops_at_the_largest_integer(sums: list[int], merged: int) -> None:
    assert merge_rollups([rollup(number) for number in sums])["duration_sum"].to_pylist() == [merged]


def test_keys_that_fit_no_integer_together_still_sort_like_their_parts() -> None:
    rows = [(5, 2**40, 7), (5, 3, 2**40), (0, 1, 1), (5, 3, 1), (2**40, 0, 0), (5, 3, 1)]
    parts = [(np.array(column), 2**40 + 1) for column in zip(*rows, strict=True)]
    key = packed(parts).tolist()
    assert sorted(range(6), key=lambda i: (key[i], i)) == sorted(range(6), key=lambda i: (rows[i], i))
    assert key[3] == key[5]
    assert len(set(key)) == 5

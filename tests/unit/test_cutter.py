"""Where a window ends."""

from hypothesis import given, strategies as st

from tasks.dispatcher.cutter import Bounds, Pending, cut

WIDE = Bounds(batches=1_000, bytes=10**9, events=10**9, events_per_byte=0.02)


def pending(count: int, *, size: int = 100, chunk: int = 1, seen_at_s: float = 0.0) -> list[Pending]:
    return [
        Pending(
            offset=offset,
            batch_id=str(offset),
            digest=b"",
            fingerprint=b"",
            size=size,
            accepted_at_us=0,
            seen_at_s=seen_at_s,
            ends_chunk=(offset + 1) % chunk == 0,
        )
        for offset in range(count)
    ]


def test_a_quiet_customers_batch_waits_for_company_until_its_linger_ends() -> None:
    batches = pending(3, seen_at_s=10.0)
    assert cut(batches, WIDE, linger_s=0.05, now_s=10.04) == 0
    assert cut(batches, WIDE, linger_s=0.05, now_s=10.05) == 3


def test_a_full_window_does_not_wait() -> None:
    bounds = Bounds(batches=10, bytes=10**9, events=10**9, events_per_byte=0.02)
    assert cut(pending(10), bounds, linger_s=9.0, now_s=0.0) == 10
    assert cut(pending(9), bounds, linger_s=9.0, now_s=0.0) == 0


def test_bytes_end_a_window_before_they_pass_the_bound() -> None:
    bounds = Bounds(batches=1_000, bytes=1_000, events=10**9, events_per_byte=0.02)
    assert cut(pending(25, size=100), bounds, linger_s=9.0, now_s=0.0) == 10


def test_the_guess_of_events_ends_a_window() -> None:
    bounds = Bounds(batches=1_000, bytes=10**9, events=50, events_per_byte=0.1)
    assert cut(pending(25, size=100), bounds, linger_s=9.0, now_s=0.0) == 5


def test_a_batch_larger_than_every_bound_makes_a_window_of_its_own() -> None:
    bounds = Bounds(batches=10, bytes=50, events=10, events_per_byte=1.0)
    assert cut(pending(3, size=100), bounds, linger_s=9.0, now_s=0.0) == 1


def test_a_full_window_ends_where_a_chunk_ends_when_that_is_not_far() -> None:
    bounds = Bounds(batches=10, bytes=10**9, events=10**9, events_per_byte=0.02)
    assert cut(pending(20, chunk=8), bounds, linger_s=9.0, now_s=0.0) == 8


def test_a_full_window_ends_within_a_chunk_that_is_larger_than_itself() -> None:
    bounds = Bounds(batches=10, bytes=10**9, events=10**9, events_per_byte=0.02)
    assert cut(pending(100, chunk=64), bounds, linger_s=9.0, now_s=0.0) == 10


@given(
    sizes=st.lists(st.integers(0, 500), max_size=60),
    bound=st.integers(1, 2_000),
    batches=st.integers(1, 20),
    waited=st.booleans(),
)
def test_no_window_passes_its_bounds_unless_it_holds_one_batch(
    sizes: list[int], bound: int, batches: int, waited: bool
) -> None:
    held = [
        Pending(
            offset=i,
            batch_id="",
            digest=b"",
            fingerprint=b"",
            size=size,
            accepted_at_us=0,
            seen_at_s=0.0,
            ends_chunk=i % 3 == 0,
        )
        for i, size in enumerate(sizes)
    ]
    bounds = Bounds(batches=batches, bytes=bound, events=10**9, events_per_byte=0.0)
    count = cut(held, bounds, linger_s=1.0, now_s=2.0 if waited else 0.5)
    assert count <= batches
    assert count <= 1 or sum(sizes[:count]) <= bound
    assert count > 0 or not waited or not sizes


def test_a_window_ends_at_once_where_offsets_are_missing() -> None:
    batches = pending(12)
    del batches[3:10]
    assert cut(batches, WIDE, linger_s=9.0, now_s=0.0) == 3

"""Windows in flight are shared by the customers that are busy."""

from collections import Counter
from dataclasses import replace

from hypothesis import given, strategies as st

from db.ledger.workers import SHARED
from tasks.dispatcher.scheduling.shares import Busy, Shares, limits


def busy(
    customer_id: int,
    in_flight: int = 0,
    waits_since_s: float | None = 0.0,
    pool: str = SHARED,
    *,
    backlogged: bool = False,
) -> Busy:
    return Busy(
        customer_id=customer_id,
        pool=pool,
        in_flight=in_flight,
        waits_since_s=waits_since_s,
        backlogged=backlogged,
    )


def gone(customers: list[Busy], limit: int, *, most: int = 32, per_process: int = 1) -> list[int]:
    """Who goes in one round in which everybody's window is full. The pool has `limit` processes."""
    shares = Shares.of(customers, {SHARED: limit, "own": limit}, per_process=per_process, most=most)
    went = []
    for customer_id in shares.longest_waiting_first():
        if shares.may_go(customer_id):
            shares.goes(customer_id)
            went.append(customer_id)
    return went


def test_a_lone_customer_has_the_whole_pool() -> None:
    assert gone([busy(1, in_flight=5)], 6) == [1]
    assert gone([busy(1, in_flight=6)], 6) == []


def test_no_customer_has_more_than_its_own_bound() -> None:
    assert gone([busy(1, in_flight=4)], 6, most=4) == []


def test_a_quiet_customers_first_window_does_not_wait_for_a_busy_one() -> None:
    assert gone([busy(1, in_flight=6), busy(2)], 6) == [2]


def test_a_busy_customer_keeps_to_its_share() -> None:
    assert gone([busy(1, in_flight=3), busy(2, in_flight=0, waits_since_s=None)], 6) == []


def test_who_keeps_up_does_not_contend_with_who_is_backlogged() -> None:
    flood, quiet = busy(1, in_flight=1, backlogged=True), [busy(2), busy(3, waits_since_s=None, in_flight=1)]
    shares = Shares.of([flood, *quiet], {SHARED: 2}, per_process=3, most=32)
    assert [shares.contenders(one) for one in (1, 2, 3)] == [3, 2, 2]


def test_who_is_backlogged_leaves_a_process_to_who_is_not() -> None:
    flood = busy(1, in_flight=1, backlogged=True)
    assert gone([flood, busy(2, waits_since_s=None, in_flight=1)], 2, per_process=3) == []
    assert gone([flood, busy(2)], 2, per_process=3) == [2]
    assert gone([flood, busy(2, in_flight=1)], 2, per_process=3) == [], "its own windows would wait for it"
    assert gone([flood], 2, per_process=3) == [1], "alone, it has the whole pool"
    assert gone([flood, busy(2, backlogged=True)], 2, per_process=3) == [1, 2], "nobody is to be spared"
    floods = [busy(1, backlogged=True), busy(2, backlogged=True)]
    assert gone([*floods, busy(3)], 2, per_process=3) == [1, 3], "however many are backlogged"


def test_with_more_customers_than_windows_the_longest_waiting_go_first() -> None:
    customers = [busy(each, waits_since_s=float(-each)) for each in range(10)]
    assert gone(customers, 4) == [9, 8, 7, 6]


def test_pools_do_not_take_from_each_other() -> None:
    assert gone([busy(1, in_flight=6), busy(2, pool="own")], 6) == [2]


def test_a_pool_of_no_known_process_still_has_windows() -> None:
    assert limits({SHARED: 0, "customer-acme": 4}, per_process=3) == {SHARED: 2, "customer-acme": 12}


@given(st.lists(st.tuples(st.integers(0, 8), st.floats(0, 10)), min_size=1, max_size=40), st.integers(2, 16))
def test_rounds_end_with_the_pool_in_use_and_nobody_starving(
    customers: list[tuple[int, float]], limit: int
) -> None:
    in_flight = Counter({each: count for each, (count, _) in enumerate(customers)})
    before = dict(in_flight)
    for _ in range(limit):
        in_flight.update(
            gone([busy(each, in_flight[each], since) for each, (_, since) in enumerate(customers)], limit)
        )
    fair = max(1, limit // len(customers))
    assert all(count <= max(fair, before[each]) for each, count in in_flight.items())
    assert sum(in_flight.values()) <= sum(before.values()) + limit
    if len(customers) <= limit:
        assert min(in_flight.values()) >= min(1, limit), "each has a window of its own"
    elif sum(before.values()) < limit:
        assert sum(in_flight.values()) >= min(limit, len(customers)), "no window is left unused"


def test_a_group_counts_as_one_window_of_its_pool() -> None:
    members = [
        replace(busy(each, in_flight=1, waits_since_s=None), groups=frozenset({7})) for each in range(5)
    ]
    assert gone([*members, busy(9)], 2) == [9]
    others = [replace(one, groups=frozenset({8})) for one in members[:2]]
    assert (
        gone([*members, *(replace(one, customer_id=20 + one.customer_id) for one in others), busy(9)], 2)
        == []
    )

"""Which windows share a doorbell: those of several customers that together are a part of a large one."""

from collections.abc import Callable
from typing import cast

from hypothesis import given, strategies as st

from db.customers.rows import Customer, Stage
from db.ledger.workers import SHARED
from streams import Subscription
from tasks.dispatcher.cutter import Pending
from tasks.dispatcher.raw_streams.feed import Feed, LastRing
from tasks.dispatcher.scheduling.due_windows import DueWindows
from tasks.dispatcher.scheduling.groups import GroupRoom, GroupsOfRound, Size, is_small
from tasks.settings import TaskSettings

SETTINGS = TaskSettings(group_windows=3, window_bytes=4_000, window_events=40_000)
sizes = st.builds(Size, st.integers(0, 300), st.floats(0, 3_000))


@given(st.lists(sizes, max_size=40))
def test_no_group_is_larger_than_it_may_be_and_only_the_last_one_takes_more(windows: list[Size]) -> None:
    groups = GroupsOfRound(settings=SETTINGS)
    members: dict[int, list[Size]] = {}
    for size in windows:
        joined = groups.join(size)
        number = groups.begin(size) if joined is None else joined
        members.setdefault(number, []).append(size)
        assert number == len(members)
    for group in members.values():
        assert len(group) <= SETTINGS.group_windows
        if len(group) > 1:
            assert sum(size.bytes for size in group) <= SETTINGS.window_bytes / 4
            assert sum(size.events for size in group) <= SETTINGS.window_events / 4 + 0.001


def test_a_window_is_small_by_its_bytes_and_by_its_events() -> None:
    assert is_small(Size(200, 2_000), SETTINGS)
    assert not is_small(Size(201, 2_000), SETTINGS)
    assert not is_small(Size(200, 2_001), SETTINGS)
    assert not is_small(Size(1, 1), TaskSettings(group_windows=1)), "groups are switched off"


def test_a_small_window_fits_into_an_empty_group() -> None:
    assert GroupRoom.of(SETTINGS).holds(Size(200, 2_000))


def a_customer(number: int, routes: dict[Stage, str] | None = None) -> Customer:
    return Customer(
        id=number,
        slug=f"customer-{number}",
        state="active",
        events_per_second=None,
        bytes_per_second=None,
        batches_per_second=None,
        concurrent_requests=None,
        daily_bytes=None,
        pipeline_version=1,
        routes=routes or {},
        retention_days=30,
        created_at=0,
        updated_at=0,
    )


def feed(
    customer_id: int, *, size: int = 100, waits: int = 1, in_flight: dict[int, LastRing] | None = None
) -> Feed:
    made = Feed(
        customer_id=customer_id,
        slug=f"customer-{customer_id}",
        epoch=1,
        generation=0,
        next_offset=0,
        subscription=cast(Subscription, None),
        most_pending=100,
        in_flight=in_flight or {},
    )
    for offset in range(waits):
        made.pending.append(
            Pending(
                offset=offset,
                batch_id=str(offset),
                digest=b"",
                size=size,
                accepted_at_us=0,
                seen_at_s=0.0,  # long ago: no linger holds it back
                ends_chunk=True,
                fingerprint=b"",
            )
        )
    made.pending_bytes = size * waits
    return made


def due(
    feeds: list[Feed],
    customers: dict[int, Customer],
    processes: dict[str, int],
    traced: Callable[[str], bool] = lambda slug: False,
) -> dict[int, int | None]:
    """By customer whose window goes: the group that it is in."""
    windows = DueWindows(settings=SETTINGS, traced=traced)
    windows.learn(customers, processes)
    return {one.feed.customer_id: one.group for one in windows.due({one.customer_id: one for one in feeds})}


def test_small_windows_of_many_customers_go_in_one_round_and_large_ones_take_turns() -> None:
    customers = {each: a_customer(each) for each in range(1, 41)}
    small = [feed(each) for each in customers]
    # Three windows in flight for the one process, each of them a group of three.
    assert list(due(small, customers, {SHARED: 1}).values()) == [1, 1, 1, 2, 2, 2, 3, 3, 3]
    large = [feed(each, size=500) for each in customers]
    assert list(due(large, customers, {SHARED: 1}).values()) == [None, None, None]


def test_who_has_windows_in_flight_or_workers_or_routes_of_its_own_or_is_traced_is_in_no_group() -> None:
    customers = {each: a_customer(each) for each in range(1, 7)} | {
        5: a_customer(5, routes={"deposit": "other"})
    }
    feeds = [feed(1), feed(2, in_flight={9: LastRing(0.0)}), feed(3), feed(4, size=900), feed(5), feed(6)]
    processes = {SHARED: 9, "customer-customer-3": 1}
    groups = due(feeds, customers, processes, traced="customer-6".__eq__)
    assert groups == {1: 1, 2: None, 3: None, 4: None, 5: None, 6: None}
    # Nobody takes what is shared.
    assert due(feeds[:1], customers, {SHARED: 0}) == {1: None}

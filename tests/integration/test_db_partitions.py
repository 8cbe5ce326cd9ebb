"""PostgreSQL's partitions: made when they are needed, by whoever is first, and bounded."""

from datetime import UTC, datetime, timedelta
from functools import partial

import pytest
from sqlalchemy import Engine, select, text

from db import customers, partitions, tables
from db.clock import now_us
from db.engine import begin, connect, read
from db.results import prepare, write_events, write_rollups
from db.settings import DatabaseSettings
from tests.integration.ledger_rows import add_customer, at_once
from tests.integration.result_tables import an_event, events_table, rollups_table

DAY_US = 86_400_000_000


@pytest.fixture
def engine(postgresql_url: str) -> Engine:
    return connect(DatabaseSettings(url=postgresql_url), pooled=False)


def names(engine: Engine) -> list[str]:
    with read(engine) as conn:
        return [one.name for one in partitions.made(conn)]


def rows_in(engine: Engine, table: str) -> int:
    with read(engine) as conn:
        return int(conn.execute(text(f"SELECT COUNT(*) FROM ONLY {table}")).scalar_one())


def a_rollup(at_us: int) -> dict[str, object]:
    key = {"minute": at_us // 60_000_000 * 60_000_000, "service": "a", "operation": "b", "status": "ok"}
    return {**key, "bucket": 3, "count": 2, "duration_sum": 2, "duration_min": 1, "duration_max": 1}


def test_rows_find_the_partition_of_their_day_and_month(engine: Engine, slug: str) -> None:
    customer, now = add_customer(engine, slug), now_us()
    at = datetime.fromtimestamp(now / 1e6, UTC)
    events = events_table([an_event(started_at=now, window_id=1, position=0)])
    rollups = rollups_table([a_rollup(now)])
    for _ in range(2):
        prepare(engine, [events], [rollups])
    for _ in range(2):  # the second is an update in the partition
        with begin(engine) as conn:
            write_rollups(conn, customer.id, rollups)
    with begin(engine) as conn:
        write_events(conn, customer.id, events)
        count, histogram = conn.execute(select(tables.rollups.c["count"], tables.rollups.c.histogram)).one()
    assert names(engine) == [f"events_{at:%Y%m%d}", f"rollups_{at:%Y%m}"]
    assert (rows_in(engine, f"events_{at:%Y%m%d}"), rows_in(engine, f"rollups_{at:%Y%m}")) == (1, 1)
    assert (count, histogram) == (4, {"3": 4})


def test_what_is_too_old_or_too_far_ahead_goes_to_the_default_partition(engine: Engine, slug: str) -> None:
    customer, now = add_customer(engine, slug), now_us()
    with begin(engine) as conn:
        customers.set_retention(conn, customer.id, 30)
    times = [now - 40 * DAY_US, now + 5 * DAY_US, 0]
    events = events_table([an_event(started_at=at, window_id=1, position=i) for i, at in enumerate(times)])
    prepare(engine, [events], [])
    with begin(engine) as conn:
        write_events(conn, customer.id, events)
    assert names(engine) == []
    assert rows_in(engine, "events_default") == 3


def test_deposits_that_need_the_same_partitions_at_once_all_get_them(engine: Engine, slug: str) -> None:
    now = now_us()
    everyone = [add_customer(engine, f"{slug}-{letter}") for letter in "abc"]

    def deposit(number: int) -> None:
        times = [now - day * DAY_US for day in range(4)]
        events = events_table(
            [an_event(started_at=at, window_id=1, position=i) for i, at in enumerate(times)]
        )
        rollups = rollups_table([a_rollup(at) for at in times])
        prepare(engine, [events], [rollups])
        with begin(engine) as conn:
            write_rollups(conn, everyone[number].id, rollups)
            write_events(conn, everyone[number].id, events)

    assert at_once([partial(deposit, 0), partial(deposit, 1), partial(deposit, 2)]) == [None] * 3
    assert len([name for name in names(engine) if name.startswith("events")]) == 4
    assert rows_in(engine, "events_default") == 0


def test_processes_that_make_the_same_partitions_at_once_do_not_fail(engine: Engine, slug: str) -> None:
    add_customer(engine, slug)
    times = [now_us() - day * DAY_US for day in range(15)]
    events = events_table([an_event(started_at=at, window_id=1, position=i) for i, at in enumerate(times)])
    assert at_once([partial(prepare, engine, [events], [])] * 6) == [None] * 6
    assert len(names(engine)) == 15


def test_a_partition_is_made_beside_a_deposit_that_is_under_way(engine: Engine, slug: str) -> None:
    customer, now = add_customer(engine, slug), now_us()
    today = events_table([an_event(started_at=now, window_id=1, position=0)])
    yesterday = events_table([an_event(started_at=now - DAY_US, window_id=2, position=0)])
    prepare(engine, [today], [])
    impatient = connect(
        DatabaseSettings(url=engine.url.render_as_string(hide_password=False), lock_timeout_s=1)
    )
    with begin(engine) as conn:
        write_events(conn, customer.id, today)
        prepare(impatient, [yesterday], [])
    impatient.dispose()
    assert len(names(engine)) == 2


def test_a_day_whose_rows_are_in_the_default_partition_stays_there(engine: Engine, slug: str) -> None:
    customer, now = add_customer(engine, slug), now_us()
    with begin(engine) as conn:
        customers.set_retention(conn, customer.id, 30)
    old = events_table([an_event(started_at=now - 40 * DAY_US, window_id=1, position=0)])
    with begin(engine) as conn:
        write_events(conn, customer.id, old)
        customers.set_retention(conn, customer.id, 365)
    prepare(engine, [old], [])
    assert names(engine) == []


def test_partitions_are_bounded_in_number(engine: Engine, slug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    add_customer(engine, slug)
    monkeypatch.setattr(partitions, "MOST_DAYS", 2)
    start = now_us() - 9 * DAY_US
    events = events_table(
        [an_event(started_at=start + d * DAY_US, window_id=1, position=d) for d in range(5)]
    )
    prepare(engine, [events], [])
    assert len(names(engine)) == 2


def test_a_month_begins_on_its_first_day_and_ends_on_the_next_ones() -> None:
    day = datetime(2024, 2, 29, tzinfo=UTC).date()
    month = partitions.month(day)
    assert (str(month.first), str(month.after)) == ("2024-02-01", "2024-03-01")
    assert partitions.day(day).after == day + timedelta(days=1)
    december = partitions.month(datetime(2025, 12, 31, tzinfo=UTC).date())
    assert str(december.after) == "2026-01-01"

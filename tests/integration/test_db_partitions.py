"""PostgreSQL's partitions: made when they are needed, by whoever is first, and bounded."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from functools import partial

import pyarrow as pa
import pytest
from sqlalchemy import Engine, event, select, text

from db import tables
from db.clock import now_us
from db.customers import rows as customers
from db.engine import begin, connect, read
from db.results import of_customer, prepare, write_events, write_rollups
from db.retention import partitions
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


def test_rows_find_the_partition_of_their_month(engine: Engine, slug: str) -> None:
    customer, now = add_customer(engine, slug), now_us(engine)
    at = datetime.fromtimestamp(now / 1e6, UTC)
    events = events_table([an_event(started_at=now, window_id=1, position=0)])
    rollups = rollups_table([a_rollup(now)])
    for _ in range(2):
        prepare(engine, [events], [rollups])
    for _ in range(2):  # the second is an update in the partition
        with begin(engine) as conn:
            write_rollups(conn, of_customer(customer.id, rollups))
    with begin(engine) as conn:
        write_events(conn, of_customer(customer.id, events))
        count, histogram = conn.execute(select(tables.rollups.c["count"], tables.rollups.c.histogram)).one()
    month_of_events, month_of_rollups = names(engine)
    assert month_of_events == partitions.month("events", at.date()).name
    assert month_of_rollups == f"rollups_{at:%Y%m}"
    assert (rows_in(engine, month_of_events), rows_in(engine, month_of_rollups)) == (1, 1)
    assert (count, histogram) == (4, {"3": 4})


def test_what_is_too_old_or_too_far_ahead_goes_to_the_default_partition(engine: Engine, slug: str) -> None:
    customer, now = add_customer(engine, slug), now_us(engine)
    with begin(engine) as conn:
        customers.set_retention(conn, customer.id, 30)
    times = [now - 70 * DAY_US, now + 40 * DAY_US, 0]
    events = events_table([an_event(started_at=at, window_id=1, position=i) for i, at in enumerate(times)])
    prepare(engine, [events], [])
    with begin(engine) as conn:
        write_events(conn, of_customer(customer.id, events))
    assert names(engine) == []
    assert rows_in(engine, "events_default") == 3


def test_deposits_that_need_the_same_partitions_at_once_all_get_them(engine: Engine, slug: str) -> None:
    now = now_us(engine)
    everyone = [add_customer(engine, f"{slug}-{letter}") for letter in "abc"]

    def deposit(number: int) -> None:
        times = [now - 31 * month * DAY_US for month in range(4)]
        events = events_table(
            [an_event(started_at=at, window_id=1, position=i) for i, at in enumerate(times)]
        )
        rollups = rollups_table([a_rollup(at) for at in times])
        prepare(engine, [events], [rollups])
        with begin(engine) as conn:
            write_rollups(conn, of_customer(everyone[number].id, rollups))
            write_events(conn, of_customer(everyone[number].id, events))

    assert at_once([partial(deposit, 0), partial(deposit, 1), partial(deposit, 2)]) == [None] * 3
    assert len([name for name in names(engine) if name.startswith("events")]) == 4
    assert rows_in(engine, "events_default") == 0


def test_processes_that_make_the_same_partitions_at_once_do_not_fail(engine: Engine, slug: str) -> None:
    add_customer(engine, slug)
    times = [now_us(engine) - 31 * month * DAY_US for month in range(15)]
    events = events_table([an_event(started_at=at, window_id=1, position=i) for i, at in enumerate(times)])
    assert at_once([partial(prepare, engine, [events], [])] * 6) == [None] * 6
    assert len(names(engine)) == 15


def test_a_partition_is_made_beside_a_deposit_that_is_under_way(engine: Engine, slug: str) -> None:
    customer, now = add_customer(engine, slug), now_us(engine)
    today = events_table([an_event(started_at=now, window_id=1, position=0)])
    last_month = events_table([an_event(started_at=now - 31 * DAY_US, window_id=2, position=0)])
    prepare(engine, [today], [])
    impatient = connect(
        DatabaseSettings(url=engine.url.render_as_string(hide_password=False), lock_timeout_s=1)
    )
    with begin(engine) as conn:
        write_events(conn, of_customer(customer.id, today))
        prepare(impatient, [last_month], [])
    impatient.dispose()
    assert len(names(engine)) == 2


def test_a_day_whose_rows_are_in_the_default_partition_stays_there(engine: Engine, slug: str) -> None:
    customer, now = add_customer(engine, slug), now_us(engine)
    with begin(engine) as conn:
        customers.set_retention(conn, customer.id, 30)
    old = events_table([an_event(started_at=now - 70 * DAY_US, window_id=1, position=0)])
    with begin(engine) as conn:
        write_events(conn, of_customer(customer.id, old))
        customers.set_retention(conn, customer.id, 365)
    prepare(engine, [old], [])
    assert names(engine) == []


def test_partitions_are_bounded_in_number(engine: Engine, slug: str, monkeypatch: pytest.MonkeyPatch) -> None:
    add_customer(engine, slug)
    monkeypatch.setattr(partitions, "MOST_MONTHS", 2)
    prepare(engine, [past_days(range(100, 400))], [])
    assert len(names(engine)) == 2


def past_days(days: Iterable[int]) -> pa.Table:
    """An event on each of these days ago."""
    now = time.time_ns() // 1000
    return events_table(
        [an_event(started_at=now - d * DAY_US, window_id=1, position=i) for i, d in enumerate(days)]
    )


def test_a_batch_of_any_days_leaves_the_near_ones_their_partition_and_makes_few(
    engine: Engine, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer = add_customer(engine, slug)
    wrong = past_days(range(1_600, 0, -1))
    prepare(engine, [wrong], [])
    with begin(engine) as conn:
        write_events(conn, of_customer(customer.id, wrong))
    assert 52 <= len(names(engine)) <= 54
    monkeypatch.setattr(partitions, "MOST_MONTHS", 0)
    today = past_days([0])
    prepare(engine, [today], [])
    with begin(engine) as conn:
        write_events(conn, of_customer(customer.id, today))
    assert rows_in(engine, "events_default") == 0


def test_a_full_house_is_not_asked_about_again_by_each_deposit(
    engine: Engine, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_customer(engine, slug)
    monkeypatch.setattr(partitions, "MOST_MONTHS", 0)
    old, statements = past_days([100]), []
    prepare(engine, [old], [])
    event.listen(engine, "before_cursor_execute", lambda *said: statements.append(said[2]))
    prepare(engine, [old], [])
    assert statements == []


def test_months_of_the_past_do_not_wait_for_whoever_makes_partitions(engine: Engine, slug: str) -> None:
    customer, old = add_customer(engine, slug), past_days([100])
    with begin(engine) as conn:
        conn.execute(text("SELECT pg_advisory_xact_lock(7316529048221002)"))
        prepare(engine, [old], [])
    with begin(engine) as conn:
        write_events(conn, of_customer(customer.id, old))
    assert rows_in(engine, "events_default") == 1


def test_housekeeping_makes_the_partitions_that_deposits_will_need(engine: Engine, slug: str) -> None:
    add_customer(engine, slug)
    partitions.make_ahead(engine)
    week = [datetime.fromtimestamp(now_us(engine) / 1e6, UTC).date() + timedelta(days=d) for d in (0, 7)]
    expected = {partitions.month(table, one).name for table in partitions.TIMES for one in week}
    assert set(names(engine)) == expected


def test_a_month_to_which_events_came_too_early_gets_its_partition_with_them(
    engine: Engine, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    customer, now = add_customer(engine, slug), now_us(engine)
    early = events_table([an_event(started_at=now + 40 * DAY_US, window_id=1, position=0)])
    prepare(engine, [early], [a_month_of_rollups := rollups_table([a_rollup(now + 40 * DAY_US)])])
    with begin(engine) as conn:
        write_events(conn, of_customer(customer.id, early))
        write_rollups(conn, of_customer(customer.id, a_month_of_rollups))
    assert (rows_in(engine, "events_default"), rows_in(engine, "rollups_default")) == (1, 1)
    later = datetime.fromtimestamp(now / 1e6, UTC).date() + timedelta(days=39)
    monkeypatch.setattr(partitions, "_today", lambda _: later)
    monkeypatch.setattr(partitions, "MOST_EARLY", 0)
    partitions.make_ahead(engine)
    due = {partitions.month(table, later + timedelta(days=1)).name for table in ("events", "rollups")}
    assert not due & set(names(engine)), "more than can be moved at once"
    monkeypatch.setattr(partitions, "MOST_EARLY", 1)
    monkeypatch.setattr(partitions, "_today", lambda _: later + timedelta(days=1))
    partitions.make_ahead(engine)
    assert due <= set(names(engine))
    assert (rows_in(engine, "events_default"), rows_in(engine, "rollups_default")) == (0, 0)
    with read(engine) as conn:
        assert conn.execute(select(tables.events.c.started_at)).one()
        assert conn.execute(select(tables.rollups.c["count"])).scalar_one() == 2


def test_a_month_gets_what_the_days_of_an_earlier_release_leave_of_it(engine: Engine, slug: str) -> None:
    customer, first = add_customer(engine, slug), datetime.now(UTC).date().replace(day=1)
    with begin(engine) as conn:
        for number in (3, 4, 10):
            one = partitions.day(first.replace(day=number))
            conn.execute(
                text(
                    f"CREATE TABLE {one.name} PARTITION OF events FOR VALUES"
                    f" FROM ('{one.first} 00:00+00') TO ('{one.after} 00:00+00')"
                )
            )
    start = int(datetime(first.year, first.month, 1, tzinfo=UTC).timestamp() * 1e6)
    month = events_table(
        [an_event(started_at=start + d * DAY_US, window_id=1, position=d) for d in range(28)]
    )
    prepare(engine, [month], [])
    with begin(engine) as conn:
        write_events(conn, of_customer(customer.id, month))
    days = [one.first.day for one in partitions_of(engine)]
    assert days == [1, 3, 4, 5, 10, 11]
    assert (rows_in(engine, "events_default"), rows_in(engine, f"events_{first:%Y%m}03")) == (0, 1)


def partitions_of(engine: Engine) -> list[partitions.Partition]:
    with read(engine) as conn:
        return partitions.made(conn)


def test_a_month_begins_on_its_first_day_and_ends_on_the_next_ones() -> None:
    day = datetime(2024, 2, 29, tzinfo=UTC).date()
    month = partitions.month("events", day)
    assert (str(month.first), str(month.after)) == ("2024-02-01", "2024-03-01")
    assert partitions.day(day).after == day + timedelta(days=1)
    december = partitions.month("events", datetime(2025, 12, 31, tzinfo=UTC).date())
    assert str(december.after) == "2026-01-01"

"""The views: what docs/views.md says that they have, found by index and partition, in times that compare."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, inspect, text
from sqlalchemy.exc import ProgrammingError

from db.engine import begin, read
from db.results import of_customer, prepare, write_events, write_interactions, write_rollups
from tests.integration.ledger_rows import add_customer
from tests.integration.result_tables import an_event, events_table, interactions_table, rollups_table

PAGE = (Path(__file__).parents[2] / "docs" / "views.md").read_text()
JANUARY_US, MARCH_US = 1_674_981_000_250_000, 1_680_000_000_000_000  # 2023-01-29 08:30:00.25, 2023-03-28
MINUTE_US = JANUARY_US // 60_000_000 * 60_000_000


@pytest.fixture
def filled(engine: Engine) -> Engine:
    """With events and rollups of January, one of them on the 29th, and one each of March; on PostgreSQL each
    month has its partition.
    """
    earlier = [JANUARY_US - hours * 3_600_000_000 for hours in range(24, 600)]
    times = (*earlier, JANUARY_US, MARCH_US)
    events = events_table([an_event(started_at=at, window_id=1, position=0) for at in times])
    key = {"service": "shop", "operation": "GET /", "status": "ok"}
    numbers = {"bucket": 97, "count": 1, "duration_sum": 9999, "duration_min": 9999, "duration_max": 9999}
    rollups = rollups_table([{**key, **numbers, "minute": at // 60_000_000 * 60_000_000} for at in times])
    customers = [add_customer(engine, slug) for slug in ("acme", "globex")]
    with begin(engine) as conn:
        conn.execute(text("UPDATE customers SET retention_days = 3650"))
    prepare(engine, [events], [rollups])
    for customer in customers:
        with begin(engine) as conn:
            write_events(conn, of_customer(customer.id, events))
            write_rollups(conn, of_customer(customer.id, rollups))
    with begin(engine) as conn:
        conn.execute(text("ANALYZE"))
    return engine


def plan(conn: Connection, sql: str) -> str:
    """What the database does; on PostgreSQL as if tables were too large to be read from end to end."""
    if conn.dialect.name == "sqlite":
        return "\n".join(row[3] for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}"))
    conn.exec_driver_sql("SET LOCAL enable_seqscan = off")
    return "\n".join(row[0] for row in conn.exec_driver_sql(f"EXPLAIN (ANALYZE, COSTS OFF) {sql}"))


def test_the_page_lists_the_views_and_their_columns(engine: Engine) -> None:
    rows = re.findall(r"^\| `(\w+_view)` \| .*? \| (.*) \|$", PAGE, re.MULTILINE)
    listed = {name: re.findall(r"`(\w+)`", columns) for name, columns in rows}
    with begin(engine) as conn:
        there = inspect(conn)
        found = {name: [one["name"] for one in there.get_columns(name)] for name in there.get_view_names()}
    assert found == {name: ["customer", "customer_id", *columns] for name, columns in listed.items()}


@pytest.mark.parametrize(("view", "time"), [("events_view", "started_at"), ("rollups_view", "minute")])
def test_a_condition_on_customer_and_time_needs_a_part_of_an_index_and_one_month(
    filled: Engine, view: str, time: str
) -> None:
    since, until = (f"datetime('2023-01-29T08:{minute}:00Z')" for minute in (30, 31))
    asked = f"{view} WHERE customer = 'acme' AND {time}_key >= {since} AND {time}_key < {until}"
    with read(filled) as conn:
        assert conn.exec_driver_sql(f"SELECT count(*) FROM {asked}").scalar_one() == 1
        how = plan(conn, f"SELECT service FROM {asked}")
    if filled.dialect.name == "sqlite":
        assert re.search(rf"SEARCH t USING .*\(customer_id=\? AND {time}>\? AND {time}<\?\)", how), how
        assert "SCAN" not in how
        return
    used = re.findall(r"Index (?:Only )?Scan using \S+ on (\S+) t\w*(?: .*)?\n\s+Index Cond: (.*)", how)
    months = [condition for table, condition in used if "_2023" in table]
    assert len(months) == 1, how
    assert "customer_id = " in months[0], how
    assert f"{time} >= " in months[0], how


def test_a_role_with_rights_on_the_views_of_the_page_needs_none_on_tables(filled: Engine) -> None:
    if filled.dialect.name == "sqlite":
        return  # it knows no roles
    (grant,) = re.findall(r"^GRANT .* TO analyst;$", PAGE, re.MULTILINE)
    percentile = "percentile_ms(histogram, duration_min_ms, duration_max_ms, 0.5)"
    with filled.connect() as conn, conn.begin() as transaction:
        for statement in ("CREATE ROLE analyst", grant, "SET LOCAL ROLE analyst"):
            conn.exec_driver_sql(statement)
        asked = f"SELECT {percentile} FROM rollups_view WHERE minute_key > datetime('2023-01-01')"
        assert conn.exec_driver_sql(asked).scalar_one() == pytest.approx(9.999)
        with pytest.raises(ProgrammingError, match="permission denied"):
            conn.exec_driver_sql("SELECT count FROM rollups")
        transaction.rollback()


def test_ids_times_and_durations_are_as_people_write_them(filled: Engine) -> None:
    with read(filled) as conn:
        row = conn.exec_driver_sql(
            "SELECT trace_id, parent_id, started_at, hour, day, duration_ms FROM events_view"
            " WHERE customer = 'acme' AND day = '2023-01-29'"
        ).first()
    assert row is not None
    assert (row[0], row[1], row[5]) == ("02" * 16, None, 0.007)
    at = ["2023-01-29T08:30:00.250000Z", "2023-01-29T08:00:00Z", "2023-01-29"]
    if filled.dialect.name == "sqlite":
        assert list(row[2:5]) == at
    else:
        assert [one.isoformat() for one in row[2:5]] == [
            *("2023-01-29T08:30:00.250000+00:00", "2023-01-29T08:00:00+00:00", "2023-01-29")
        ]


@pytest.mark.parametrize(
    ("bound", "at_least", "below"),
    [
        ("2023-01-29T08:30:00", 1, 0),
        ("2023-01-29T08:30:00.000000", 1, 0),
        ("2023-01-29T08:31:00", 0, 1),
        ("2023-01-29T08:29:59", 1, 0),
    ],
)
def test_times_written_with_t_and_z_select_rightly(
    filled: Engine, bound: str, at_least: int, below: int
) -> None:
    """A minute in any form, by the view's column; any time by its key, and in full by the column."""
    full = bound if "." in bound else f"{bound}.000000"
    with read(filled) as conn:
        for view, column, value in (
            ("rollups_view", "minute", f"'{bound}Z'"),
            ("rollups_view", "minute_key", f"datetime('{bound}Z')"),
            ("events_view", "started_at", f"'{full}Z'"),
            ("events_view", "started_at_key", f"datetime('{bound}Z')"),
        ):
            january = f"FROM {view} WHERE customer = 'acme' AND day = '2023-01-29' AND {column}"
            for sign, expected in ((">=", at_least), ("<", below)):
                found = conn.exec_driver_sql(f"SELECT count(*) {january} {sign} {value}").scalar_one()
                assert found == expected, (view, column, sign, value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ("", "2024-03-01T01:02:03"),
        (", '-1 day'", "2024-02-29T01:02:03"),
        (", '-1 day', 'start of day'", "2024-02-29T00:00:00"),
        (", 'start of month', '-90 minutes'", "2024-02-29T22:30:00"),
        (", 'start of year', '+1 hour'", "2024-01-01T01:00:00"),
    ],
)
def test_datetime_is_the_same_on_both(engine: Engine, changes: str, expected: str) -> None:
    for written in ("2024-03-01T01:02:03Z", "2024-03-01 01:02:03.700", "2024-03-01T02:02:03+01:00"):
        with begin(engine) as conn:
            if engine.dialect.name == "postgresql":
                conn.exec_driver_sql("SET LOCAL timezone = 'Asia/Tokyo'")
            found = conn.exec_driver_sql(f"SELECT datetime('{written}'{changes})").scalar_one()
        at = found if isinstance(found, datetime) else datetime.fromisoformat(f"{found}+00:00")
        assert at.astimezone(UTC) == datetime.fromisoformat(f"{expected}+00:00")


def test_durations_of_traces_are_exact(engine: Engine) -> None:
    customer = add_customer(engine, "acme")
    midnight = 1_675_036_800_000_000
    spans = [
        (midnight - 1, midnight + 2),
        (midnight, midnight),
        (midnight - 300_000_007, midnight + 86_400_000_000),
    ]
    rows = [
        {
            "trace_id": bytes(15) + bytes([place]),
            "started_at": start,
            "ended_at": end,
            "events": 1,
            "errors": 0,
        }
        for place, (start, end) in enumerate(spans)
    ]
    with begin(engine) as conn:
        write_interactions(conn, of_customer(customer.id, interactions_table(rows)))
    with read(engine) as conn:
        found = (
            conn.exec_driver_sql("SELECT duration_ms FROM interactions_view ORDER BY trace_id")
            .scalars()
            .all()
        )
    assert found == [(end - start) / 1000 for start, end in spans]

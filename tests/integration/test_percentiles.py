"""Percentiles, as docs/pipeline.md asks for them, against those of the durations themselves."""

import math
import random
import re
from collections import defaultdict
from pathlib import Path

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from db.customers import rows as customers
from db.engine import begin, read
from db.results import of_customer, write_rollups
from pipelines import parse
from tasks.events import EventTable
from tasks.processors import process
from tests.unit.process_by_hand import Event, events_table

PAGE = (Path(__file__).parents[2] / "docs" / "pipeline.md").read_text()
HALF_PAST_EIGHT_US = 1_674_981_000_000_000  # 2023-01-29 08:30 UTC
HOUR_US = 3_600_000_000
SHARES = (0, 0.001, 0.07, 0.5, 0.95, 0.99, 0.999, 1)
# Of a bucket's value to any duration above a microsecond in it; floats are not exact.
OFF, OFF_MS = 0.1 / 2.1 + 1e-9, 0.001


def durations_us(rng: random.Random, operation: str, count: int) -> list[int]:
    """Of one operation: spread, all the same, at the edges of buckets, or nothing at all."""
    match operation:
        case "spread":
            return [int(rng.lognormvariate(8, 2)) for _ in range(count)]
        case "the same":
            return [rng.randrange(10**6)] * count
        case "at edges":
            return [math.floor(1.1 ** rng.randrange(200)) + rng.randrange(2) for _ in range(count)]
        case _:
            return [rng.choice((0, 0, 1)) for _ in range(count)]


def generated_events(seed: int) -> list[Event]:
    rng = random.Random(seed)
    return [
        {
            "event_id": rng.randbytes(8),
            "trace_id": rng.randbytes(16),
            "parent_id": None,
            "started_at": HALF_PAST_EIGHT_US + rng.randrange(HOUR_US),
            "duration_us": duration_us,
            "service": "cart",
            "operation": operation,
            "kind": None,
            "status": rng.choice(["ok", "ok", "error"]),
            "status_message": None,
            "user_id": None,
            "attributes": None,
        }
        for operation in ("spread", "the same", "at edges", "nearly nothing")
        for duration_us in durations_us(rng, operation, rng.choice((1, 2, 7, 100, 1000)))
    ]


def write(engine: Engine, events: list[Event], windows: int) -> None:
    """As customer `acme`, with events of other hours that are not to be counted."""
    late = [event | {"started_at": event["started_at"] + 2 * HOUR_US} for event in events[::7]]
    pipeline = parse('{"steps": [{"step": "rollup"}]}')
    with begin(engine) as conn:
        customer = customers.add(conn, "acme")
        for window in range(windows):
            table = events_table((events + late)[window::windows])
            rollups = process(EventTable.of(table), pipeline).rollups
            write_rollups(conn, of_customer(customer.id, rollups))


def check(found: float, exact_ms: list[float], share: float) -> None:
    """Within a bucket of the percentile of the sorted durations, and within what was measured."""
    expected = exact_ms[max(math.ceil(share * len(exact_ms)), 1) - 1]
    assert abs(found - expected) <= max(OFF * expected, OFF_MS), share
    assert exact_ms[0] <= found <= exact_ms[-1], share


def by_operation(events: list[Event]) -> dict[str, list[float]]:
    """The sorted durations of each operation in ms."""
    found: dict[str, list[float]] = defaultdict(list)
    for event in sorted(events, key=lambda event: event["duration_us"]):
        found[event["operation"]].append(event["duration_us"] / 1000)
    return found


@pytest.mark.parametrize(("seed", "windows"), [(1, 1), (2, 4), (3, 9)])
def test_a_percentile_is_within_a_bucket_of_the_exact_one_and_never_beyond_what_was_measured(
    engine: Engine, seed: int, windows: int
) -> None:
    events = generated_events(seed)
    write(engine, events, windows)
    asked = ", ".join(
        f"percentile_ms(histogram, duration_min_ms, duration_max_ms, {share})" for share in SHARES
    )
    with read(engine) as conn:
        found = conn.exec_driver_sql(
            f"SELECT operation, {asked} FROM rollups_view"
            " WHERE minute_key < datetime('2023-01-29T10:00:00Z') GROUP BY operation"
        ).all()
    exact = by_operation(events)
    assert {row[0] for row in found} == set(exact)
    for row in found:
        for share, percentile in zip(SHARES, row[1:], strict=True):
            check(percentile, exact[row[0]], share)


def test_the_queries_of_the_page_find_percentiles(engine: Engine) -> None:
    queries = dict(re.findall(r"```sql\n-- (With.*?)\n(.*?);\n```", PAGE, re.DOTALL))
    events = generated_events(4)
    write(engine, events, 3)
    exact = by_operation(events)
    check_query(engine, queries["With the function"], exact)
    if engine.dialect.name == "sqlite":
        check_query(engine, queries["Without it, on SQLite"], exact)


def check_query(engine: Engine, query: str, exact: dict[str, list[float]]) -> None:
    """It finds each operation, with its number of events, p50 and p99."""
    with read(engine) as conn:
        found = conn.exec_driver_sql(query).all()
    assert [(row[0], row[1], int(row[2])) for row in found] == [
        ("cart", operation, len(exact[operation])) for operation in sorted(exact)
    ]
    for row in found:
        for share, percentile in zip((0.5, 0.99), row[3:], strict=True):
            check(percentile, exact[row[1]], share)


def test_no_row_has_no_percentile_and_a_share_is_at_most_one(engine: Engine) -> None:
    write(engine, generated_events(5)[:3], 1)
    percentile = "SELECT percentile_ms(histogram, duration_min_ms, duration_max_ms, {}) FROM rollups_view{}"
    with read(engine) as conn:
        assert conn.exec_driver_sql(percentile.format(0.5, " WHERE count = 0")).scalar_one() is None
        assert conn.exec_driver_sql(percentile.format("NULL", "")).scalar_one() is None
    for share in (1.01, -0.5, 99):
        with pytest.raises(DBAPIError), read(engine) as conn:
            conn.exec_driver_sql(percentile.format(share, "")).scalar_one()

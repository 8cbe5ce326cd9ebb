"""The queries that docs/pipeline.md gives for percentiles, on both databases."""

import math
import random
import re
from collections import defaultdict
from pathlib import Path

import pytest
from sqlalchemy import Engine

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


def generated_events(count: int) -> list[Event]:
    rng = random.Random(7)
    return [
        {
            "event_id": rng.randbytes(8),
            "trace_id": rng.randbytes(16),
            "parent_id": None,
            "started_at": HALF_PAST_EIGHT_US + rng.randrange(HOUR_US),
            "duration_us": int(rng.lognormvariate(8, 2)),
            "service": "cart",
            "operation": rng.choice(["GET /cart", "SELECT cart"]),
            "kind": None,
            "status": rng.choice(["ok", "ok", "error"]),
            "status_message": None,
            "user_id": None,
            "attributes": None,
        }
        for _ in range(count)
    ]


@pytest.mark.parametrize("windows", [1, 4])
def test_a_percentile_from_merged_rollups_is_within_five_percent(engine: Engine, windows: int) -> None:
    name = {"postgresql": "PostgreSQL", "sqlite": "SQLite"}[engine.dialect.name]
    query = re.search(rf"```sql\n-- {name}\n(.*?);\n```", PAGE, re.DOTALL)
    assert query is not None
    events = generated_events(4000)
    late = [event | {"started_at": event["started_at"] + 2 * HOUR_US} for event in generated_events(100)]
    pipeline = parse('{"steps": [{"step": "rollup"}]}')
    with begin(engine) as conn:
        customer = customers.add(conn, "acme")
        for window in range(windows):
            table = events_table((events + late)[window::windows])
            rollups = process(EventTable.of(table), pipeline).rollups
            write_rollups(conn, of_customer(customer.id, rollups))

    with read(engine) as conn:
        found = conn.exec_driver_sql(query[1]).all()

    durations = defaultdict(list)
    for event in events:
        durations[event["operation"]].append(event["duration_us"])
    assert [(row[0], row[1], int(row[2])) for row in found] == [
        ("cart", operation, len(durations[operation])) for operation in sorted(durations)
    ]
    for row in found:
        exact = sorted(durations[row[1]])
        for share, percentile in zip((0.5, 0.99), row[3:], strict=True):
            assert float(percentile) == pytest.approx(exact[math.ceil(share * len(exact)) - 1], rel=0.05)

"""Tables with texts that agents choose are written in slices, whatever their rows take."""

import random
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy import Connection, Engine, func, select

import db.results
from db import bulk, tables
from db.engine import begin, read
from db.results import of_customer, prepare, writing
from tests.integration.ledger_rows import NOW_US, add_customer
from tests.integration.result_tables import (
    a_log,
    an_event,
    events_table,
    interactions_table,
    log_rollups_table,
    logs_table,
    rollups_table,
    some_interaction,
    some_rollup,
)

SLICE_BYTES = 1_024
LONG = "x" * 300


def left(rows: int) -> dict[str, pa.Table]:
    chance = random.Random(0)
    placed = [{"window_id": 1, "position": number} for number in range(rows)]
    minute = NOW_US // 60_000_000 * 60_000_000
    counted = {"minute": minute, "severity": "warn", "count": 1}
    return {
        "interactions": interactions_table([some_interaction(chance, traces=1)]),
        "rollups": rollups_table(
            [some_rollup(chance) | {"service": f"{LONG}{number}"} for number in range(rows)]
        ),
        "events": events_table([an_event(span=f'"{LONG}"', **one) for one in placed]),
        "logs": logs_table([a_log(at=NOW_US, body=f'"{LONG}"', **one) for one in placed]),
        "log_rollups": log_rollups_table(
            [counted | {"service": f"{LONG}{number}"} for number in range(rows)]
        ),
    }


@pytest.mark.parametrize("most_as_arrays", [3, bulk.MOST_AS_ARRAYS])
def test_results_are_written_in_slices(
    engine: Engine, slug: str, most_as_arrays: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "SLICE_BYTES", SLICE_BYTES)
    monkeypatch.setattr(bulk, "MOST_AS_ARRAYS", most_as_arrays)
    written: dict[str, list[pa.Table]] = {}

    def watch(name: str) -> None:
        write: Callable[[Connection, pa.Table], None] = getattr(db.results, f"write_{name}")

        def watched(conn: Connection, table: pa.Table) -> None:
            written.setdefault(name, []).append(table)
            write(conn, table)

        monkeypatch.setattr(db.results, f"write_{name}", watched)

    customer = add_customer(engine, slug)
    results = left(20)
    for name in results:
        watch(name)
    of_logs = {name: [results[name]] for name in ("logs", "log_rollups")}
    prepare(engine, [results["events"]], [results["rollups"]], **of_logs)
    given: dict[str, Any] = {name: of_customer(customer.id, table) for name, table in results.items()}
    with begin(engine) as conn, writing(conn, **given):
        pass

    for name in ("rollups", "events", "logs", "log_rollups"):
        assert len(written[name]) > 5
        assert all(len(part) == 1 or part.nbytes <= SLICE_BYTES for part in written[name])
        assert pa.concat_tables(written[name]) == given[name]
    with read(engine) as conn:
        for name in ("events", "logs", "log_rollups", "rollups"):
            table = tables.metadata.tables[name]
            mine = select(func.count()).select_from(table).where(table.c.customer_id == customer.id)
            assert conn.execute(mine).scalar_one() == 20

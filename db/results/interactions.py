"""Interactions: partial rows of traces merged into what the table has, in whatever order they come."""

import pyarrow as pa
from sqlalchemy import Connection

from db import bulk
from db.results.columns import column, iso, listed, octets, text as plain

_COLUMNS = (
    *("customer_id", "trace_id", "root_service", "root_operation", "root_event_id", "root_started_at"),
    *("user_id", "started_at", "ended_at", "events", "errors", "status"),
)
_NAMES = ", ".join(_COLUMNS)
_GIVEN = ", ".join(_COLUMNS[:-1])
_NEW_STATUS = "CASE WHEN errors > 0 THEN 'error' ELSE 'ok' END"

# The root is the smallest of these, whatever the order; the last two decide between events of one id.
_ROOT = "root_started_at", "root_event_id", "root_service", "root_operation"
_OLD_ROOT = ", ".join(f"interactions.{name}" for name in _ROOT)
_NEW_ROOT = ", ".join(f"excluded.{name}" for name in _ROOT)
_NEW_WINS = (
    "excluded.root_started_at IS NOT NULL"
    f" AND (interactions.root_started_at IS NULL OR ({_NEW_ROOT}) < ({_OLD_ROOT}))"
)
_ROOTS = ", ".join(
    f"{name} = CASE WHEN {_NEW_WINS} THEN excluded.{name} ELSE interactions.{name} END" for name in _ROOT
)
_MERGE = f"""ON CONFLICT (customer_id, trace_id) DO UPDATE SET {_ROOTS},
 user_id = CASE WHEN interactions.user_id IS NULL OR excluded.user_id > interactions.user_id
  THEN excluded.user_id ELSE interactions.user_id END,
 started_at = CASE WHEN excluded.started_at < interactions.started_at
  THEN excluded.started_at ELSE interactions.started_at END,
 ended_at = CASE WHEN excluded.ended_at > interactions.ended_at
  THEN excluded.ended_at ELSE interactions.ended_at END,
 events = interactions.events + excluded.events,
 errors = interactions.errors + excluded.errors,
 status = CASE WHEN interactions.errors + excluded.errors > 0 THEN 'error' ELSE 'ok' END"""

_FROM_VALUES = bulk.insert_statement("interactions", _COLUMNS, _MERGE)


def write_interactions(conn: Connection, table: pa.Table) -> None:
    """Merge partial rows of traces into the table. Part of the deposit's transaction.

    `table` has one row a trace of a customer: customer_id (int64), trace_id (16 bytes), root_service,
    root_operation, root_event_id (8 bytes), root_started_at, user_id (all five nullable), started_at,
    ended_at (µs, UTC), events, errors (int64); sorted by customer_id and trace_id it is written fastest.
    """
    if not table.num_rows:
        return
    if bulk.is_postgresql(conn):
        given, parameters = bulk.arrays(_columns(table))
        # Sorted, so that two transactions lock the same rows in the same order.
        merge = (
            f"INSERT INTO interactions ({_NAMES}) SELECT {_GIVEN}, {_NEW_STATUS}"  # noqa: S608
            f" FROM {given} given ORDER BY customer_id, trace_id {_MERGE}"
        )
        bulk.driver(conn).execute(merge, parameters)
    else:
        bulk.execute_many(conn, _FROM_VALUES, zip(*_listed(table), strict=True))


def _columns(table: pa.Table) -> dict[str, pa.Array]:
    columns = {name: column(table, name) for name in _COLUMNS[:-1]}
    for name in ("root_service", "root_operation", "user_id"):
        columns[name] = plain(columns[name])
    return columns


def _listed(table: pa.Table) -> list[list[object]]:
    errors = column(table, "errors").to_numpy()
    return [
        listed(column(table, "customer_id")),
        octets(column(table, "trace_id")),
        listed(plain(column(table, "root_service"))),
        listed(plain(column(table, "root_operation"))),
        octets(column(table, "root_event_id")),
        iso(column(table, "root_started_at")).to_pylist(),
        listed(plain(column(table, "user_id"))),
        iso(column(table, "started_at")).to_pylist(),
        iso(column(table, "ended_at")).to_pylist(),
        listed(column(table, "events")),
        errors.tolist(),
        ["error" if failed else "ok" for failed in (errors > 0).tolist()],
    ]

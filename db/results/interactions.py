"""Interactions: partial rows of traces merged into what the table has, in whatever order they come."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
from sqlalchemy import Connection

from db import bulk
from db.results.columns import column, iso, listed, octets, text as plain

_COLUMNS = (
    *("customer_id", "trace_id", "root_service", "root_operation", "root_event_id", "root_started_at"),
    *("user_id", "started_at", "ended_at", "events", "errors", "logs", "log_errors"),
)
_NEW_STATUS = "CASE WHEN errors > 0 THEN 'error' ELSE 'ok' END"

# The root is the smallest of these, whatever the order; the last two decide between events of one id.
_ROOT = "root_started_at", "root_event_id", "root_service", "root_operation"
# So is the exception.
_EXCEPTION = (
    *("exception_at", "exception_event_id", "exception_fingerprint"),
    *("exception_type", "exception_message"),
)


def _smallest(columns: Sequence[str]) -> str:
    """Assignments that leave the smaller of old and new by these columns in turn: all null, or none."""
    first = columns[0]
    old, new = (", ".join(f"{row}.{name}" for name in columns) for row in ("interactions", "excluded"))
    wins = f"excluded.{first} IS NOT NULL AND (interactions.{first} IS NULL OR ({new}) < ({old}))"
    return ", ".join(
        f"{name} = CASE WHEN {wins} THEN excluded.{name} ELSE interactions.{name} END" for name in columns
    )


# Log records alone say when something was until an event says it.
_FIRST_EVENTS = "(interactions.events = 0 AND excluded.events > 0)"
_NO_LESS = "(interactions.events = 0 OR excluded.events > 0)"
_MERGE = f"""ON CONFLICT (customer_id, trace_id) DO UPDATE SET {_smallest(_ROOT)},
 user_id = CASE WHEN interactions.user_id IS NULL OR excluded.user_id > interactions.user_id
  THEN excluded.user_id ELSE interactions.user_id END,
 started_at = CASE WHEN {_FIRST_EVENTS} OR ({_NO_LESS} AND excluded.started_at < interactions.started_at)
  THEN excluded.started_at ELSE interactions.started_at END,
 ended_at = CASE WHEN {_FIRST_EVENTS} OR ({_NO_LESS} AND excluded.ended_at > interactions.ended_at)
  THEN excluded.ended_at ELSE interactions.ended_at END,
 events = interactions.events + excluded.events,
 errors = interactions.errors + excluded.errors,
 logs = interactions.logs + excluded.logs,
 log_errors = interactions.log_errors + excluded.log_errors,
 status = CASE WHEN interactions.errors + excluded.errors > 0 THEN 'error' ELSE 'ok' END"""
# Most deposits know of no exception, and need not say so.
_MERGE_EXCEPTIONS = f"{_MERGE}, {_smallest(_EXCEPTION)}"


def write_interactions(conn: Connection, table: pa.Table) -> None:
    """Merge partial rows of traces into the table. Part of the deposit's transaction.

    `table` has one row a trace of a customer: customer_id (int64), trace_id (16 bytes), root_service,
    root_operation, root_event_id (8 bytes), root_started_at, user_id (all five nullable), started_at,
    ended_at (µs, UTC), events, errors, logs, log_errors (int64), exception_at, exception_event_id (8 bytes),
    exception_fingerprint, exception_type, exception_message (all five null, or none); sorted by customer_id
    and trace_id it is written fastest.
    """
    if not table.num_rows:
        return
    names: Sequence[str] = _COLUMNS
    merge = _MERGE
    if table["exception_at"].null_count < table.num_rows:
        names, merge = (*_COLUMNS, *_EXCEPTION), _MERGE_EXCEPTIONS
    columns = {name: column(table, name) for name in names}
    for name in names:
        if pa.types.is_string(columns[name].type):
            columns[name] = plain(columns[name])
    if bulk.is_postgresql(conn):
        listing, (given, parameters) = ", ".join(names), bulk.arrays(columns)
        # Sorted, so that two transactions lock the same rows in the same order.
        statement = (
            f"INSERT INTO interactions ({listing}, status) SELECT {listing}, {_NEW_STATUS}"  # noqa: S608
            f" FROM {given} given ORDER BY customer_id, trace_id {merge}"
        )
        bulk.driver(conn).execute(statement, parameters)
    else:
        statement = bulk.insert_statement("interactions", (*names, "status"), merge)
        failed = columns["errors"].to_numpy() > 0
        status = ["error" if one else "ok" for one in failed.tolist()]
        bulk.execute_many(conn, statement, zip(*map(_listed, columns.values()), status, strict=True))


def _listed(values: pa.Array) -> list[Any]:
    if pa.types.is_fixed_size_binary(values.type):
        return octets(values)
    return listed(iso(values) if pa.types.is_timestamp(values.type) else values)

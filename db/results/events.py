"""Events: those that the pipeline keeps, row by row."""

import pyarrow as pa
from sqlalchemy import Connection

from db import bulk
from db.binary import jsonb
from db.results.columns import column, iso, listed, objects, octets, text as plain

_IDS = ("event_id", "trace_id", "parent_id")
_WORDS = ("service", "operation", "kind", "status", "status_message", "user_id")
_COLUMNS = (
    *("customer_id", "started_at", "window_id", "position"),
    *_IDS,
    "duration_us",
    *(*_WORDS, "attributes"),
)
_INSERT = bulk.insert_statement("events", _COLUMNS)


def write_events(conn: Connection, table: pa.Table) -> None:
    """Insert kept events. Part of the deposit's transaction, which sees to it that a window comes once.

    `table` has the columns of an event, customer_id (int64), window_id (int64) and position (int32, its place
    in the window).
    """
    if not table.num_rows:
        return
    columns = _columns(table)
    if bulk.is_postgresql(conn):
        columns["attributes"] = jsonb(columns["attributes"])
        bulk.copy(conn, "events", columns)
        return
    columns["started_at"] = iso(columns["started_at"])
    values = [octets(columns[name]) if name in _IDS else listed(columns[name]) for name in _COLUMNS]
    bulk.execute_many(conn, _INSERT, zip(*values, strict=True))


def _columns(table: pa.Table) -> dict[str, pa.Array]:
    columns = {name: column(table, name) for name in _COLUMNS}
    for name in _WORDS:
        columns[name] = plain(columns[name])
    columns["attributes"] = objects(columns["attributes"])
    return columns

"""Events: those that the pipeline keeps, row by row."""

from typing import Final

import pyarrow as pa
from sqlalchemy import Connection

from db import bulk
from db.binary import jsonb
from db.results.columns import column, iso, listed, objects, octets, text as plain

_IDS: Final = ("event_id", "trace_id", "parent_id")
_WORDS: Final = ("service", "operation", "kind", "status", "status_message", "user_id")
_COLUMNS: Final = (
    *("customer_id", "started_at", "window_id", "position"),
    *_IDS,
    "duration_us",
    *(*_WORDS, "attributes"),
)
_DOCUMENTS: Final = ("resource", "scope", "span", "span_events", "links")
_DETAILS: Final = ("trace_state", "flags", *_DOCUMENTS)
# What text has to become on PostgreSQL.
_TYPES: Final = {"attributes": "jsonb", **dict.fromkeys(_DOCUMENTS, "json")}


def write_events(conn: Connection, table: pa.Table) -> None:
    """Insert kept events. Part of the deposit's transaction, which sees to it that a window comes once.

    `table` has the columns of an event, customer_id (int64), window_id (int64) and position (int32, its place
    in the window); it may have those of an event's details (trace_state, flags as int64, and JSON text). More
    than `bulk.MOST_AS_ARRAYS` of them cannot be written in a block of `db.bulk.together`.
    """
    if not table.num_rows:
        return
    columns = _columns(table)
    names = ", ".join(columns)
    if bulk.is_postgresql(conn):
        if len(table) > bulk.MOST_AS_ARRAYS:
            bulk.copy(conn, "events", columns | {"attributes": jsonb(columns["attributes"])})
            return
        given, parameters = bulk.arrays(columns)
        typed = (f"CAST({name} AS {_TYPES[name]})" if name in _TYPES else name for name in columns)
        insert = f"INSERT INTO events ({names}) SELECT {', '.join(typed)} FROM {given} given"  # noqa: S608
        bulk.driver(conn).execute(insert, parameters)
        return
    columns["started_at"] = iso(columns["started_at"])
    values = [octets(each) if name in _IDS else listed(each) for name, each in columns.items()]
    insert = bulk.insert_statement("events", list(columns))
    bulk.execute_many(conn, insert, zip(*values, strict=True))


def _columns(table: pa.Table) -> dict[str, pa.Array]:
    """By name, without those of details that no event has."""
    columns = {name: column(table, name) for name in _COLUMNS}
    for name in _WORDS:
        columns[name] = plain(columns[name])
    columns["attributes"] = objects(columns["attributes"])
    for name in _DETAILS:
        if name in table.column_names and table[name].null_count < len(table):
            columns[name] = column(table, name)
    return columns

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
_NAMES = ", ".join(_COLUMNS)
_GIVEN = ", ".join("CAST(attributes AS jsonb)" if name == "attributes" else name for name in _COLUMNS)
# COPY costs PostgreSQL a fifth less for 10,000 rows, as much for 1,000, and an answer more.
MOST_AS_ARRAYS = 2_000


def write_events(conn: Connection, table: pa.Table) -> None:
    """Insert kept events. Part of the deposit's transaction, which sees to it that a window comes once.

    `table` has the columns of an event, customer_id (int64), window_id (int64) and position (int32, its place
    in the window). More than `MOST_AS_ARRAYS` of them cannot be written in a block of `db.bulk.together`.
    """
    if not table.num_rows:
        return
    columns = _columns(table)
    if bulk.is_postgresql(conn):
        if len(table) > MOST_AS_ARRAYS:
            bulk.copy(conn, "events", columns | {"attributes": jsonb(columns["attributes"])})
            return
        given, parameters = bulk.arrays(columns)
        insert = f"INSERT INTO events ({_NAMES}) SELECT {_GIVEN} FROM {given} given"  # noqa: S608
        bulk.driver(conn).execute(insert, parameters)
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

"""Log records: those that the pipeline keeps, row by row."""

from typing import Final

import pyarrow as pa
from sqlalchemy import Connection

from db import bulk
from db.binary import jsonb
from db.results.columns import column, iso, listed, octets, text as plain

_IDS: Final = ("trace_id", "span_id")
_WORDS: Final = ("severity_text", "service", "event_name")
_DOCUMENTS: Final = ("body", "attributes", "scope", "resource")
_COLUMNS: Final = (
    *("customer_id", "at", "window_id", "position", "time_ns", "observed_ns", "severity_number"),
    *(*_WORDS, *_DOCUMENTS, "dropped_attributes", *_IDS, "flags"),
)
_INSERT: Final = bulk.insert_statement("logs", _COLUMNS)
_NAMES: Final = ", ".join(_COLUMNS)
_GIVEN: Final = ", ".join(f"CAST({name} AS jsonb)" if name in _DOCUMENTS else name for name in _COLUMNS)


def write_logs(conn: Connection, table: pa.Table) -> None:
    """Insert kept log records. Part of the deposit's transaction, which sees to it that a window comes once.

    `table` has the columns of a log record, customer_id (int64), window_id (int64) and position (int32, its
    place in the window). More than `bulk.MOST_AS_ARRAYS` of them cannot be written in a block of
    `db.bulk.together`.
    """
    if not table.num_rows:
        return
    columns = _columns(table)
    if bulk.is_postgresql(conn):
        if len(table) > bulk.MOST_AS_ARRAYS:
            bulk.copy(conn, "logs", columns | {name: jsonb(columns[name]) for name in _DOCUMENTS})
            return
        given, parameters = bulk.arrays(columns)
        insert = f"INSERT INTO logs ({_NAMES}) SELECT {_GIVEN} FROM {given} given"  # noqa: S608
        bulk.driver(conn).execute(insert, parameters)
        return
    columns["at"] = iso(columns["at"])
    values = [octets(columns[name]) if name in _IDS else listed(columns[name]) for name in _COLUMNS]
    bulk.execute_many(conn, _INSERT, zip(*values, strict=True))


def _columns(table: pa.Table) -> dict[str, pa.Array]:
    columns = {name: column(table, name) for name in _COLUMNS}
    return columns | {name: plain(columns[name]) for name in _WORDS}

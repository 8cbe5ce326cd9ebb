"""Exceptions: partial rows merged into one row a minute × service × fingerprint."""

import pyarrow as pa
from sqlalchemy import Connection

from db import bulk
from db.results.columns import column, iso, listed, text as plain
from db.results.crowded import OTHER, crowded_out, under_other

_KEY = ("customer_id", "minute", "service", "fingerprint")
_COLUMNS = (*_KEY, "type", "message", "count", "first_seen", "last_seen")
_NAMES = ", ".join(_COLUMNS)
_SMALLER = "(excluded.type, excluded.message) < (exceptions.type, exceptions.message)"
_MERGE = f"""ON CONFLICT ({", ".join(_KEY)}) DO UPDATE SET
 type = CASE WHEN {_SMALLER} THEN excluded.type ELSE exceptions.type END,
 message = CASE WHEN {_SMALLER} THEN excluded.message ELSE exceptions.message END,
 count = exceptions.count + excluded.count,
 first_seen = CASE WHEN excluded.first_seen < exceptions.first_seen
  THEN excluded.first_seen ELSE exceptions.first_seen END,
 last_seen = CASE WHEN excluded.last_seen > exceptions.last_seen
  THEN excluded.last_seen ELSE exceptions.last_seen END"""
_OTHERS = {"service": OTHER, "fingerprint": OTHER, "type": "", "message": ""}
_FROM_VALUES = bulk.insert_statement("exceptions", _COLUMNS, _MERGE)


def write_exceptions(conn: Connection, table: pa.Table) -> None:
    """Merge counts of exceptions into the table. Part of the deposit's transaction, after it has locked out
    the other deposits of all customers concerned.

    `table` has customer_id (int64), minute (timestamp), service, fingerprint, type, message,
    count (int64), first_seen, last_seen (timestamps), and most (int64): how many pairs of service and
    fingerprint of a customer's minute have rows of their own. The others go under OTHER, in both, without
    type and message.
    """
    if not table.num_rows:
        return
    for name in ("service", "type", "message"):
        table = table.set_column(table.column_names.index(name), name, plain(column(table, name)))
    if out := crowded_out(conn, "exceptions", ("service", "fingerprint"), table):
        table = under_other(table, out, _OTHERS)
    table = _grouped(table)
    columns = {name: column(table, name) for name in _COLUMNS}
    if bulk.is_postgresql(conn):
        given, parameters = bulk.arrays(columns)
        merge = f"INSERT INTO exceptions ({_NAMES}) SELECT {_NAMES} FROM {given} given {_MERGE}"  # noqa: S608
        bulk.driver(conn).execute(merge, parameters)
        return
    values = (
        iso(of).to_pylist() if pa.types.is_timestamp(of.type) else listed(of) for of in columns.values()
    )
    bulk.execute_many(conn, _FROM_VALUES, zip(*values, strict=True))


def _grouped(table: pa.Table) -> pa.Table:
    """One row a key, sorted by it."""
    example = ("type", "message")
    rows = table.sort_by([(name, "ascending") for name in (*_KEY, *example)])
    how = {**dict.fromkeys(example, "first"), "count": "sum", "first_seen": "min", "last_seen": "max"}
    groups = rows.group_by(list(_KEY), use_threads=False).aggregate(list(how.items()))
    return groups.rename_columns({f"{name}_{function}": name for name, function in how.items()})

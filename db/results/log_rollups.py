"""Roll-ups of log records: counts added to those that the table has, in whatever order they come."""

from typing import Final

import pyarrow as pa
from sqlalchemy import Connection

from db import bulk
from db.results.columns import column, iso, listed, text as plain

_KEY: Final = ("customer_id", "minute", "service", "severity")
_COLUMNS: Final = (*_KEY, "count")
_NAMES: Final = ", ".join(_COLUMNS)
_MERGE: Final = f"ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET count = log_rollups.count + excluded.count"
_FROM_VALUES: Final = bulk.insert_statement("log_rollups", _COLUMNS, _MERGE)


def write_log_rollups(conn: Connection, table: pa.Table) -> None:
    """Add the counts to the table's. Part of the deposit's transaction.

    `table` has customer_id (int64), minute (timestamp), service, severity (text) and count (int64); rows of
    the same key are added up.
    """
    if not table.num_rows:
        return
    summed = table.group_by(list(_KEY)).aggregate([("count", "sum")])
    columns = {name: column(summed, "count_sum" if name == "count" else name) for name in _COLUMNS}
    columns |= {name: plain(columns[name]) for name in ("service", "severity")}
    if bulk.is_postgresql(conn):
        given, parameters = bulk.arrays(columns)
        # Sorted, so that two transactions lock the same rows in the same order.
        merge = (
            f"INSERT INTO log_rollups ({_NAMES}) SELECT {_NAMES} FROM {given} given"  # noqa: S608
            f" ORDER BY {', '.join(_KEY)} {_MERGE}"
        )
        bulk.driver(conn).execute(merge, parameters)
        return
    columns["minute"] = iso(columns["minute"])
    bulk.execute_many(conn, _FROM_VALUES, zip(*(listed(columns[name]) for name in _COLUMNS), strict=True))

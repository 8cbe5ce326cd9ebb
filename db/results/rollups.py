"""Rollups: rows of the long form merged into one row a minute × service × operation × status; and the same
for rollups that are split by environment and version, too.

The deposit holds the customers' cursor rows, so nobody else writes these rows between the read and the write.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection, text

from db import bulk
from db.results import histograms
from db.results.columns import column, iso, listed, text as plain
from db.results.crowded import OTHER, crowded_out, under_other
from db.results.histograms import Histograms, Integers

_VALUES = ("count", "duration_sum", "duration_min", "duration_max", "histogram")
_UPDATE = ", ".join(f"{name} = excluded.{name}" for name in _VALUES)
_LARGEST = np.iinfo(np.int64).max

_THERE = f"{', '.join(f'r.{name}' for name in _VALUES[:-1])}, CAST(r.histogram AS text) AS histogram"


class _Into(NamedTuple):
    """A table, and its key."""

    name: str
    key: tuple[str, ...]

    @property
    def columns(self) -> tuple[str, ...]:
        return (*self.key, *_VALUES)

    @property
    def merge(self) -> str:
        return f"ON CONFLICT ({', '.join(self.key)}) DO UPDATE SET {_UPDATE}"

    @property
    def match(self) -> str:
        return " AND ".join(f"r.{name} = k.{name}" for name in self.key)


_ROLLUPS = _Into("rollups", ("customer_id", "minute", "service", "operation", "status"))
_SPLIT = _Into(
    "split_rollups",
    ("customer_id", "minute", "environment", "version", "service", "operation", "status"),
)


@dataclass(frozen=True, slots=True)
class _Rows:
    """What the table is to have: `keys` sorted, one array element a row; durations in µs."""

    keys: dict[str, pa.Array]
    count: Integers
    duration_sum: Integers
    duration_min: Integers
    duration_max: Integers
    histogram: Histograms

    def __len__(self) -> int:
        return len(self.count)

    def values(self) -> dict[str, pa.Array]:
        columns = {name: pa.array(getattr(self, name)) for name in _VALUES[:-1]}
        return {**columns, "histogram": self.histogram.written(len(self))}


def write_rollups(conn: Connection, table: pa.Table) -> None:
    """Merge rollups into the table. Part of the deposit's transaction, after it has locked out the other
    deposits of all customers concerned.

    `table` is in the long form: customer_id (int64), minute (timestamp), service, operation, status, bucket
    (int16), count, duration_sum, duration_min, duration_max (int64, µs); rows of the same key are added up. A
    sum stops at 2^63 - 1.
    """
    if not table.num_rows:
        return
    _write(conn, _ROLLUPS, table)


def write_split_rollups(conn: Connection, table: pa.Table) -> None:
    """As `write_rollups`, of rollups with environment and version, and with `most` (int64): how many pairs of
    these a customer's minute may have; the others go under OTHER, both of them.
    """
    if not table.num_rows:
        return
    pair = ("environment", "version")
    for name in pair:
        table = table.set_column(table.column_names.index(name), name, plain(column(table, name)))
    if out := crowded_out(conn, _SPLIT.name, pair, table):
        table = under_other(table, out, dict.fromkeys(pair, OTHER))
    _write(conn, _SPLIT, table)


def _write(conn: Connection, into: _Into, table: pa.Table) -> None:
    rows = _grouped(table, into.key)
    if bulk.is_postgresql(conn):
        _write_postgresql(conn, into, rows)
    else:
        _write_sqlite(conn, into, rows)


def _write_postgresql(conn: Connection, into: _Into, rows: _Rows) -> None:
    driver, bounds = bulk.driver(conn), pc.min_max(rows.keys["minute"])
    number = pa.array(np.arange(len(rows), dtype=np.int32))
    keys, parameters = bulk.arrays({"row_number": number, **rows.keys})
    # LIMIT makes it one look at the index for each key, whatever the server believes of a table that grew
    # since it was analyzed: a join may compare each key with all rows of its customer. The bounds keep it to
    # the partitions of their months.
    one = (
        f"{_THERE} FROM {into.name} r WHERE {into.match} AND r.minute BETWEEN %(first)s AND %(last)s LIMIT 1"
    )
    read = f"SELECT row_number, r.* FROM {keys} k CROSS JOIN LATERAL (SELECT {one}) r"  # noqa: S608
    within = {"first": bounds["min"].as_py(), "last": bounds["max"].as_py()}
    there = driver.execute(read, within | parameters).fetchall()
    given, parameters = bulk.arrays(rows.keys | _merged(rows, there).values())
    merge = (
        f"INSERT INTO {into.name} ({', '.join(into.columns)})"  # noqa: S608
        f" SELECT {', '.join(into.columns[:-1])}, CAST(histogram AS json) FROM {given} given {into.merge}"
    )
    driver.execute(merge, parameters)


def _write_sqlite(conn: Connection, into: _Into, rows: _Rows) -> None:
    keys = [iso(of).to_pylist() if name == "minute" else listed(of) for name, of in rows.keys.items()]
    staged, names = f"staged_{into.name}", ", ".join(into.key)
    conn.exec_driver_sql(
        f"CREATE TEMP TABLE IF NOT EXISTS {staged} (row_number INTEGER PRIMARY KEY, {names})"
    )
    conn.exec_driver_sql(f"DELETE FROM temp.{staged}")  # noqa: S608
    insert = bulk.insert_statement(f"temp.{staged}", ("row_number", *into.key))
    bulk.execute_many(conn, insert, zip(range(len(rows)), *keys, strict=True))
    # CROSS JOIN keeps SQLite from walking the large table first.
    read = f"SELECT row_number, {_THERE} FROM {staged} k CROSS JOIN {into.name} r WHERE {into.match}"  # noqa: S608
    there = conn.execute(text(read)).all()
    values = _merged(rows, [tuple(row) for row in there]).values()
    columns = [*keys, *(listed(column) for column in values.values())]
    merge = bulk.insert_statement(into.name, into.columns, into.merge)
    bulk.execute_many(conn, merge, zip(*columns, strict=True))


def _grouped(table: pa.Table, key: Sequence[str]) -> _Rows:
    """One row a key, sorted by it."""
    for name in key[2:]:
        table = table.set_column(table.column_names.index(name), name, plain(column(table, name)))
    table = table.take(pc.sort_indices(table, [(name, "ascending") for name in key]))
    columns = {name: column(table, name) for name in table.column_names}
    starts = _starts([columns[name] for name in key])
    row = np.repeat(np.arange(len(starts)), np.diff(np.append(starts, table.num_rows)))
    number = {name: columns[name].to_numpy() for name in ("bucket", *_VALUES[:-1])}
    return _Rows(
        keys={name: columns[name].take(pa.array(starts)) for name in key},
        count=np.add.reduceat(number["count"], starts),
        duration_sum=_added(number["duration_sum"], row, len(starts)),
        duration_min=np.minimum.reduceat(number["duration_min"], starts),
        duration_max=np.maximum.reduceat(number["duration_max"], starts),
        histogram=Histograms(row, number["bucket"].astype(np.int64), number["count"]),
    )


def _starts(sorted_key: list[pa.Array]) -> Integers:
    """Where a new key begins."""
    changes = np.zeros(len(sorted_key[0]), dtype=bool)
    changes[0] = True
    for part in sorted_key:
        changes[1:] |= pc.not_equal(part[1:], part[:-1]).to_numpy(zero_copy_only=False)
    return np.flatnonzero(changes)


def _merged(rows: _Rows, there: list[tuple[int, int, int, int, int, str]]) -> _Rows:
    """`rows` with what the table already has of them."""
    if not there:
        return rows
    number, count, total, least, most, texts = zip(*there, strict=True)
    at = np.array(number, dtype=np.int64)
    merged = {name: getattr(rows, name).copy() for name in _VALUES[:-1]}
    merged["count"][at] += np.array(count, dtype=np.int64)
    old, new = np.array(total, dtype=np.int64), rows.duration_sum[at]
    merged["duration_sum"][at] = np.where(old > _LARGEST - new, _LARGEST, old + new)
    merged["duration_min"][at] = np.minimum(rows.duration_min[at], np.array(least, dtype=np.int64))
    merged["duration_max"][at] = np.maximum(rows.duration_max[at], np.array(most, dtype=np.int64))
    histogram = rows.histogram.plus(histograms.read(at, texts))
    return replace(rows, histogram=histogram, **merged)


def _added(numbers: Integers, row: Integers, rows: int) -> Integers:
    """Sums by row that stop at 2^63 - 1."""
    if float(numbers.sum(dtype=np.float64)) < 2.0**62:
        sums = np.zeros(rows, dtype=np.int64)
        np.add.at(sums, row, numbers)
        return sums
    exact = [0] * rows
    for place, value in zip(row.tolist(), numbers.tolist(), strict=True):
        exact[place] = min(exact[place] + value, int(_LARGEST))
    return np.array(exact, dtype=np.int64)

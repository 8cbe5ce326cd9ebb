"""A bound for the values of which a customer's minute has rows, counted with those that the table has.

The deposit holds the customers' cursor rows, so nobody else adds any between the read and the write.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection

from db import bulk
from db.results.columns import TIMESTAMP, column, iso

OTHER = "other"
"""Stands for all values beyond the bound, in both columns."""

_Pair = tuple[str, str]
# It keeps PostgreSQL to the partitions of these months.
_WITHIN = "r.minute BETWEEN %(earliest)s AND %(latest)s"


class _Minute(NamedTuple):
    customer_id: int
    minute: Any  # a datetime


def crowded_out(conn: Connection, into: str, pair: _Pair, table: pa.Table) -> list[bool] | None:
    """Which rows have a pair of values for which their customer's minute has no room; None for no row.

    `into` is the table with these two columns, whose key begins with customer_id, minute and them. `table`
    has customer_id, minute, the pair, count, and `most` (int64): how many pairs there may be, beside that
    which stands for the others. Pairs that are there stay; of new ones those that count most, and of as many
    the smallest. Of what is written in slices, those of the first slices come first. What is read grows with
    the pairs that `table` has and with `most`.
    """
    key = ("customer_id", "minute", *pair)
    grouped = table.group_by(list(key), use_threads=False)
    counted = grouped.aggregate([("count", "sum"), ("most", "max")])
    most: dict[_Minute, int] = {}
    for customer, minute, bound in _rows(counted, (*key[:2], "most_max")):
        of = _Minute(customer, minute)
        most[of] = max(bound, most.get(of, 0))
    there = _there(conn, into, key, counted)
    new: defaultdict[_Minute, list[tuple[int, _Pair]]] = defaultdict(list)
    for place, (customer, minute, first, second, count) in enumerate(_rows(counted, (*key, "count_sum"))):
        if place not in there and (first, second) != (OTHER, OTHER):
            new[_Minute(customer, minute)].append((-count, (first, second)))
    if not new:
        return None
    pairs = _pairs(conn, into, pair, {of: most[of] for of in new})
    out = {
        (*of, *one)
        for of, asked in new.items()
        for _, one in sorted(asked)[max(0, most[of] - pairs.get(of, 0)) :]
    }
    return [row in out for row in _rows(table, key)] if out else None


def under_other(table: pa.Table, out: Sequence[bool], words: Mapping[str, str]) -> pa.Table:
    """The table in which the rows that are marked have these words, by column."""
    for name, word in words.items():
        changed = pc.if_else(pa.array(out), word, column(table, name))
        table = table.set_column(table.column_names.index(name), name, changed)
    return table


def _rows(table: pa.Table, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*(column(table, name).to_pylist() for name in names), strict=True)


def _there(conn: Connection, into: str, key: Sequence[str], asked: pa.Table) -> set[int]:
    """Which rows of `asked` have a row in the table, each looked up by its key."""
    keys = {name: column(asked, name) for name in key}
    if bulk.is_postgresql(conn):
        number = pa.array(np.arange(len(asked), dtype=np.int32))
        given, parameters = bulk.arrays({"number": number, **keys})
        match = " AND ".join(f"r.{name} = k.{name}" for name in key)
        one = f"SELECT 1 FROM {into} r WHERE {match} AND {_WITHIN} LIMIT 1"  # noqa: S608 (our own names)
        read = f"SELECT number FROM {given} k CROSS JOIN LATERAL ({one}) r"  # noqa: S608
        within = _within(keys["minute"].to_pylist())
        return {row[0] for row in bulk.driver(conn).execute(read, within | parameters).fetchall()}
    match = " AND ".join(f"{name} = ?" for name in key)
    read = f"SELECT 1 FROM {into} WHERE {match} LIMIT 1"  # noqa: S608
    values = _rows(pa.table(keys | {"minute": iso(keys["minute"])}), key)
    return {at for at, row in enumerate(values) if bulk.driver(conn).execute(read, row).fetchone()}


def _within(minutes: Sequence[Any]) -> dict[str, Any]:
    return {"earliest": min(minutes), "latest": max(minutes)}


def _pairs(conn: Connection, into: str, pair: _Pair, most: Mapping[_Minute, int]) -> dict[_Minute, int]:
    """How many pairs the table has of each minute, beside OTHER; not counted beyond `most`.

    The index is asked for the next pair again and again, since a pair may have any number of rows.
    """
    names, minutes = ", ".join(pair), list(most)
    step = f"SELECT {names} FROM {into} r WHERE"  # noqa: S608
    order = f"ORDER BY {names} LIMIT 1"
    times = pa.array([one.minute for one in minutes], TIMESTAMP)
    if not bulk.is_postgresql(conn):
        of_minute = f"{step} customer_id = ? AND minute = ?"
        reads = f"{of_minute} {order}", f"{of_minute} AND ({names}) > (?, ?) {order}"
        return {
            of: _walked(bulk.driver(conn), reads, (of.customer_id, at), most[of])
            for of, at in zip(minutes, iso(times).to_pylist(), strict=True)
        }
    asked = {
        "number": pa.array(np.arange(len(minutes), dtype=np.int32)),
        "of": pa.array([one.customer_id for one in minutes], pa.int64()),
        "at": times,
        "most": pa.array(list(most.values()), pa.int64()),
    }
    given, parameters = bulk.arrays(asked)
    of_minute = f"{step} customer_id = k.of AND minute = k.at AND {_WITHIN}"
    read = (
        f"WITH RECURSIVE k(number, of, at, most, place, a, b) AS ("  # noqa: S608
        f"SELECT k.*, 0, r.* FROM {given} k CROSS JOIN LATERAL ({of_minute} {order}) r UNION ALL"
        f" SELECT number, of, at, most, place + 1, r.* FROM k"
        f" CROSS JOIN LATERAL ({of_minute} AND ({names}) > (k.a, k.b) {order}) r WHERE place < most)"
        f" SELECT number, count(*) FROM k WHERE (a, b) <> ('{OTHER}', '{OTHER}') GROUP BY number"
    )
    within = _within([one.minute for one in minutes])
    found = bulk.driver(conn).execute(read, within | parameters).fetchall()
    return {minutes[number]: count for number, count in found}


def _walked(driver: Any, reads: tuple[str, str], of: tuple[int, str], most: int) -> int:
    first, following = reads
    found: list[_Pair] = []
    one = driver.execute(first, of).fetchone()
    while one and len(found) <= most:
        found.append(one)
        one = driver.execute(following, (*of, *one)).fetchone()
    return len(found) - ((OTHER, OTHER) in found)

"""A bound for the values of which a customer's minute has rows, counted with those that the table has.

The deposit holds the customers' cursor rows, so nobody else adds any between the read and the write.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection

from db import bulk
from db.results.columns import column, iso

OTHER = "other"
"""Stands for all values beyond the bound."""

_Pair = tuple[str, str]


class _Minute(NamedTuple):
    customer_id: int
    minute: Any  # a datetime


def crowded_out(
    conn: Connection, into: str, pair: _Pair, table: pa.Table, is_other: Callable[[_Pair], bool]
) -> list[bool] | None:
    """Which rows have a pair of values for which their customer's minute has no room; None for no row.

    `into` is the table with these two columns. `table` has customer_id, minute, the pair, count, and `most`
    (int64): how many pairs there may be, beside those that stand for others. Pairs that are there stay; of
    new ones those that count most, and of as many the smallest.
    """
    key = ("customer_id", "minute", *pair)
    counted = table.group_by(list(key), use_threads=False).aggregate([("count", "sum"), ("most", "max")])
    asked: defaultdict[_Minute, list[tuple[int, _Pair]]] = defaultdict(list)
    most: dict[_Minute, int] = {}
    for customer, minute, first, second, count, bound in _rows(counted, (*key, "count_sum", "most_max")):
        of = _Minute(customer, minute)
        most[of] = max(bound, most.get(of, 0))
        if not is_other((first, second)):
            asked[of].append((-count, (first, second)))
    there = _there(conn, into, pair, list(asked))
    known = {of: {one for one in pairs if not is_other(one)} for of, pairs in there.items()}
    out = {(*of, *one) for of, new in asked.items() for one in _beyond(new, known.get(of, set()), most[of])}
    return [row in out for row in _rows(table, key)] if out else None


def _rows(table: pa.Table, names: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    return zip(*(column(table, name).to_pylist() for name in names), strict=True)


def _beyond(pairs: Sequence[tuple[int, _Pair]], there: set[_Pair], most: int) -> list[_Pair]:
    new = [one for _, one in sorted(pairs) if one not in there]
    return new[max(0, most - len(there)) :]


def _there(
    conn: Connection, into: str, pair: _Pair, minutes: Sequence[_Minute]
) -> Mapping[_Minute, set[_Pair]]:
    """The pairs that the table has of each minute."""
    found: defaultdict[_Minute, set[_Pair]] = defaultdict(set)
    if not minutes:
        return found
    names = ", ".join(pair)
    customers = pa.array([one.customer_id for one in minutes], pa.int64())
    times = pa.array([one.minute for one in minutes], pa.timestamp("us", tz="UTC"))
    if bulk.is_postgresql(conn):
        number = pa.array(np.arange(len(minutes), dtype=np.int32))
        keys, parameters = bulk.arrays({"number": number, "of": customers, "at": times})
        # The bounds keep it to the partitions of their months.
        within = {"first": min(one.minute for one in minutes), "last": max(one.minute for one in minutes)}
        read = (
            f"SELECT number, {names} FROM {keys} k CROSS JOIN LATERAL (SELECT DISTINCT {names} FROM {into}"  # noqa: S608
            f" WHERE customer_id = k.of AND minute = k.at AND minute BETWEEN %(first)s AND %(last)s) there"
        )
        for at, *one in bulk.driver(conn).execute(read, within | parameters).fetchall():
            found[minutes[at]].add((one[0], one[1]))
        return found
    read = f"SELECT DISTINCT {names} FROM {into} WHERE customer_id = ? AND minute = ?"  # noqa: S608
    for of, at in zip(minutes, iso(times).to_pylist(), strict=True):
        found[of] = set(bulk.driver(conn).execute(read, (of.customer_id, at)).fetchall())
    return found

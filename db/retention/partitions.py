"""PostgreSQL's partitions: a month of events, of logs, or of the rollups of either and of exceptions, each.

The months around today are made ahead by housekeeping, or by the first deposit that needs one, in any case.
Those of the past are made when rows come, up to a bound, and without waiting. Rows for which there is none
(older than anybody's retention, too far ahead, past the bound) go to the default partition.
Partitions of a day are an earlier release's; their month gets what they leave of it.
`db.retention.retired_partitions` drops those that are older than anybody's retention.
"""

import re
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from weakref import WeakKeyDictionary

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection, Engine, bindparam, func, select, text
from sqlalchemy.exc import IntegrityError

from db.clock import now_us
from db.engine import begin, look
from db.errors import DatabaseUnavailable
from db.tables import customers

# Planning a query that names no time takes longer with each partition. Ten years, and some.
MOST_MONTHS = 150
# Rows of a month that came before its partition was made, and are moved into it: no more in one transaction.
MOST_EARLY = 100_000
_AHEAD = timedelta(days=2)
_MADE_AHEAD = timedelta(days=7)
# Months that hold days as near as this are made in any case.
_NEAR = timedelta(days=31)
# One process changes which partitions there are at a time; any constant of our own will do.
LOCK = text("SELECT pg_advisory_xact_lock(7316529048221002)")
TIMES = {
    "events": "started_at",
    "rollups": "minute",
    "exceptions": "minute",
    "split_rollups": "minute",
    "logs": "at",
    "log_rollups": "minute",
}
"""The partitioned tables, and the column that says where a row belongs."""
_PARENTS = ", ".join(f"CAST('{table}' AS regclass)" for table in TIMES)
_MADE = text(
    "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"  # noqa: S608 (our own names)
    f" WHERE i.inhparent IN ({_PARENTS})"
)
_MISSING = text(
    "SELECT name FROM unnest(CAST(:names AS text[])) name WHERE to_regclass(name) IS NULL"
).bindparams(bindparam("names"))
_IS_THERE = text("SELECT to_regclass(:name) IS NOT NULL")

_DEFAULT = {f"{table}_default" for table in TIMES}
_NAME = re.compile(f"({'|'.join(TIMES)})_([0-9]+)(?:_([0-9]+)_default)?")
# What need not be looked up again: the day until which that holds, for what was found or made any day.
_there: WeakKeyDictionary[Engine, dict["Partition", date]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """`table` rows whose time is in [first, after)."""

    table: str
    first: date
    after: date

    @property
    def name(self) -> str:
        if self.table != "events":
            return f"{self.table}_{self.first:%Y%m}"
        if self == day(self.first):
            return f"events_{self.first:%Y%m%d}"
        # A release that made one of each day passes over names that end so, and may run beside this one.
        return f"events_{self.first:%Y%m%d}_{self.after:%Y%m%d}_default"


def day(of: date) -> Partition:
    """As earlier releases made them of events."""
    return Partition("events", of, of + timedelta(days=1))


def month(table: str, of: date) -> Partition:
    first = of.replace(day=1)
    return Partition(table, first, (first + timedelta(days=31)).replace(day=1))


def prepare(
    engine: Engine,
    events: Sequence[pa.Table],
    rollups: Sequence[pa.Table],
    *,
    exceptions: Sequence[pa.Table] = (),
    split_rollups: Sequence[pa.Table] = (),
    logs: Sequence[pa.Table] = (),
    log_rollups: Sequence[pa.Table] = (),
) -> None:
    """Make the partitions that these tables need, each in a transaction of its own before the deposit's.

    The lock that it takes is then held for milliseconds, and two deposits cannot wait for each other. What
    was decided once is not looked up again: a partition that was dropped since is older than anybody's
    retention, and what has none today has none until tomorrow. Does nothing on SQLite. Raises
    DatabaseUnavailable.
    """
    if engine.dialect.name == "postgresql":
        given = {
            "events": events,
            "rollups": rollups,
            "exceptions": exceptions,
            "split_rollups": split_rollups,
            "logs": logs,
            "log_rollups": log_rollups,
        }
        of = {table: _months(TIMES[table], some) for table, some in given.items() if some}
        _see_to(engine, {month(table, when) for table, months in of.items() for when in months})


def make_ahead(engine: Engine) -> None:
    """Make the partitions of today and of a week ahead, so that no deposit has to.

    Raises DatabaseUnavailable.
    """
    if engine.dialect.name == "postgresql":
        today = _today(engine)
        days = (today, today + _MADE_AHEAD)
        _see_to(engine, {month(table, one) for table in TIMES for one in days})


def _see_to(engine: Engine, needed: set[Partition]) -> None:
    there, today = _there.setdefault(engine, {}), _today(engine)
    needed = {one for one in needed if there.get(one, date.min) < today}
    if not needed:
        return
    with look(engine) as conn:
        missing = set(conn.execute(_MISSING, {"names": [one.name for one in needed]}).scalars())
        there |= {one: date.max for one in needed if one.name not in missing}
        if not missing:
            return
        keeps = conn.execute(select(func.max(customers.c.retention_days))).scalar_one() or 0
    for partition in sorted(one for one in needed if one.name in missing):
        near = partition.after > today - _NEAR and partition.first <= today + _MADE_AHEAD
        if near:
            there[partition] = date.max if _make(engine, partition) else today
        elif today - timedelta(days=keeps) <= partition.after and partition.first <= today + _AHEAD:
            with suppress(DatabaseUnavailable):  # the default partition takes them
                _make(engine, partition, most=MOST_MONTHS)
        if not near:
            there[partition] = today


def made(conn: Connection) -> list[Partition]:
    """The partitions that there are, without the default ones. PostgreSQL only."""
    names = [name for name in conn.execute(_MADE).scalars() if name not in _DEFAULT]
    return sorted(_parsed(name) for name in names)


def _make(engine: Engine, partition: Partition, most: int | None = None) -> bool:
    """With a bound it does not wait: what another process holds, or a full house, is for another day. Without
    one it waits for a moment: whoever needs the default partition waits behind it. False: not made.
    """
    try:
        with begin(engine) as conn:
            conn.execute(text(f"SET LOCAL lock_timeout = '{'1s' if most is None else '100ms'}'"))
            conn.execute(LOCK)
            there = [one for one in made(conn) if one.table == partition.table]
            if most is not None and len(there) >= most:
                return False
            for gap in _gaps(partition, there):
                # Detached, and not dropped yet: the default partition takes what comes late.
                if conn.execute(_IS_THERE, {"name": gap.name}).scalar_one():
                    continue
                _attach(conn, gap, early=most is None)
    except IntegrityError:
        # The default partition has rows of that time, from when they were too old, or more than can be moved
        # at once: it goes on taking them.
        return False
    return True


def _gaps(partition: Partition, there: Iterable[Partition]) -> list[Partition]:
    """What is left of a month beside the partitions that are there."""
    gaps, first = [], partition.first
    for one in sorted(there):
        if partition.first <= one.first < partition.after:
            if first < one.first:
                gaps.append(Partition(partition.table, first, one.first))
            first = one.after
    if first < partition.after:
        gaps.append(Partition(partition.table, first, partition.after))
    return gaps


def _attach(conn: Connection, partition: Partition, *, early: bool) -> None:
    # Attaching a table, unlike creating it as a partition, lets deposits into the parent go on.
    name, table = partition.name, partition.table
    conn.execute(text(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"))
    if early:
        _take_early(conn, partition)
    bounds = f"FROM ('{partition.first} 00:00:00+00') TO ('{partition.after} 00:00:00+00')"
    conn.execute(text(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES {bounds}"))


def _take_early(conn: Connection, partition: Partition) -> None:
    """Move in what came before there was the partition, as from a sender whose clock is fast: while the
    default partition has any of it, nobody's rows of that time can have another one.
    """
    early = f"{partition.table}_default"
    # Else a deposit could put more there meanwhile. Those of any other time do not wait for it.
    conn.execute(text(f"LOCK TABLE {early} IN ACCESS EXCLUSIVE MODE"))
    between = {"first": partition.first, "after": partition.after, "most": MOST_EARLY + 1}
    time = TIMES[partition.table]
    of_then = (
        f"{early} WHERE {time} >= CAST(:first AS timestamp) AT TIME ZONE 'UTC'"
        f" AND {time} < CAST(:after AS timestamp) AT TIME ZONE 'UTC'"
    )
    found = conn.execute(text(f"SELECT COUNT(*) FROM (SELECT 1 FROM {of_then} LIMIT :most) found"), between)  # noqa: S608
    if 0 < found.scalar_one() <= MOST_EARLY:
        moved = f"WITH early AS (DELETE FROM {of_then} RETURNING *)"  # noqa: S608 (our own names)
        conn.execute(text(f"{moved} INSERT INTO {partition.name} SELECT * FROM early"), between)  # noqa: S608


def _months(name: str, tables: Iterable[pa.Table]) -> set[date]:
    chunks = chain.from_iterable(table[name].chunks for table in tables)
    times = pa.chunked_array(chunks, pa.timestamp("us", tz="UTC")).cast(pa.timestamp("us"))
    months = pc.floor_temporal(times, unit="month").cast(pa.date32())
    return set(pc.unique(months).to_pylist())


def _today(engine: Engine) -> date:
    return datetime.fromtimestamp(now_us(engine) / 1e6, UTC).date()


def parts(name: str) -> tuple[str, str, str | None]:
    """Of a partition's name: the table, and the digits that say where it begins and where it ends."""
    found = _NAME.fullmatch(name)
    if found is None:
        raise ValueError(f"{name} is no partition's name")
    return found[1], found[2], found[3]


def _parsed(name: str) -> Partition:
    table, first, after = parts(name)
    if after:
        return Partition(table, _date(first), _date(after))
    return day(_date(first)) if table == "events" else month(table, _date(f"{first}01"))


def _date(digits: str) -> date:
    return datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC).date()

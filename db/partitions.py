"""PostgreSQL's partitions: events by day, rollups by month, made when the first rows of one are on their way.

Rows for which no partition is made (older than anybody's retention, more than two days ahead, or past the
bound on the number of partitions) go to the default partition; nothing is refused for its time.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import chain
from weakref import WeakKeyDictionary

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection, Engine, bindparam, func, select, text
from sqlalchemy.exc import IntegrityError

from db.clock import now_us
from db.engine import begin, look, read
from db.tables import customers

# Planning a query that names no time takes longer with each partition.
MOST_DAYS = 1500
MOST_MONTHS = 600
_AHEAD = timedelta(days=2)
# One process makes partitions at a time; any constant of our own will do.
_LOCK = text("SELECT pg_advisory_xact_lock(7316529048221002)")
_MADE = text(
    "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid"
    " WHERE i.inhparent IN (CAST('events' AS regclass), CAST('rollups' AS regclass))"
)
_MISSING = text(
    "SELECT name FROM unnest(CAST(:names AS text[])) name WHERE to_regclass(name) IS NULL"
).bindparams(bindparam("names"))

_there: WeakKeyDictionary[Engine, set["Partition"]] = WeakKeyDictionary()


@dataclass(frozen=True, slots=True, order=True)
class Partition:
    """`table` rows whose time is in [first, after)."""

    table: str
    first: date
    after: date

    @property
    def name(self) -> str:
        return (
            f"{self.table}_{self.first:%Y%m%d}"
            if self.table == "events"
            else f"{self.table}_{self.first:%Y%m}"
        )


def day(of: date) -> Partition:
    return Partition("events", of, of + timedelta(days=1))


def month(of: date) -> Partition:
    first = of.replace(day=1)
    return Partition("rollups", first, (first + timedelta(days=31)).replace(day=1))


def prepare(engine: Engine, events: Sequence[pa.Table], rollups: Sequence[pa.Table]) -> None:
    """Make the partitions that these tables need, in a transaction of its own before the deposit's.

    The lock that it takes is then held for milliseconds, and two deposits cannot wait for each other. What
    was there once is not looked up again: a partition that was dropped since is older than anybody's
    retention. Does nothing on SQLite.
    """
    if engine.dialect.name != "postgresql":
        return
    there = _there.setdefault(engine, set())
    needed = {day(when) for when in _days("started_at", events)}
    needed |= {month(when) for when in _days("minute", rollups)}
    needed -= there
    if not needed:
        return
    with look(engine) as conn:
        missing = set(conn.execute(_MISSING, {"names": [one.name for one in needed]}).scalars())
        there |= {one for one in needed if one.name not in missing}
        if not missing:
            return
        keeps = conn.execute(select(func.max(customers.c.retention_days))).scalar_one() or 0
    today = datetime.fromtimestamp(now_us() / 1e6, UTC).date()
    for partition in sorted(one for one in needed if one.name in missing):
        if today - timedelta(days=keeps) <= partition.after and partition.first <= today + _AHEAD:
            _make(engine, partition)


def made(conn: Connection) -> list[Partition]:
    """The partitions that there are, without the default ones. PostgreSQL only."""
    names = [name for name in conn.execute(_MADE).scalars() if not name.endswith("_default")]
    return sorted(_parsed(name) for name in names)


def drop(engine: Engine, before: datetime | None) -> int:
    """Drop the partitions that end by then, and book the events their rows stood for; returns how many.

    Does nothing on SQLite. Raises Unavailable when a deposit did not let go of the table within a second.
    """
    if engine.dialect.name != "postgresql" or before is None:
        return 0
    with read(engine) as conn:
        old = [one for one in made(conn) if one.after <= before.date()]
    for partition in old:
        with begin(engine) as conn:
            _drop(conn, partition)
    return len(old)


def _drop(conn: Connection, partition: Partition) -> None:
    # Deposits queue behind this lock, so it does not wait long; the next call tries again.
    conn.execute(text("SET LOCAL lock_timeout = '1s'"))
    conn.execute(_LOCK)
    if partition not in made(conn):
        return
    conn.execute(text(f"LOCK TABLE {partition.table} IN ACCESS EXCLUSIVE MODE"))
    stood_for = "COUNT(*)" if partition.table == "events" else "SUM(count)"
    column = f"pruned_{partition.table}"
    conn.execute(
        text(
            f"UPDATE folded SET {column} = folded.{column} + gone.events FROM"  # noqa: S608 (our own names)
            f" (SELECT customer_id, {stood_for} AS events FROM {partition.name} GROUP BY customer_id) gone"
            " WHERE folded.customer_id = gone.customer_id"
        )
    )
    conn.execute(text(f"DROP TABLE {partition.name}"))


def _make(engine: Engine, partition: Partition) -> None:
    most = MOST_DAYS if partition.table == "events" else MOST_MONTHS
    try:
        with begin(engine) as conn:
            conn.execute(_LOCK)
            there = made(conn)
            if partition in there or sum(one.table == partition.table for one in there) >= most:
                return
            _attach(conn, partition)
    except IntegrityError:
        # The default partition has rows of that time, from when they were too old: it goes on taking them.
        return


def _attach(conn: Connection, partition: Partition) -> None:
    # Attaching a table, unlike creating it as a partition, lets deposits into the parent go on.
    name, table = partition.name, partition.table
    conn.execute(text(f"CREATE TABLE {name} (LIKE {table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"))
    bounds = f"FROM ('{partition.first} 00:00:00+00') TO ('{partition.after} 00:00:00+00')"
    conn.execute(text(f"ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES {bounds}"))


def _days(name: str, tables: Iterable[pa.Table]) -> set[date]:
    columns = (table[name].cast(pa.timestamp("us")).cast(pa.date32(), safe=False) for table in tables)
    return set(chain.from_iterable(pc.unique(column).to_pylist() for column in columns))


def _parsed(name: str) -> Partition:
    table, _, digits = name.rpartition("_")
    if table == "events":
        return day(datetime.strptime(digits, "%Y%m%d").replace(tzinfo=UTC).date())
    return month(datetime.strptime(digits, "%Y%m").replace(tzinfo=UTC).date())

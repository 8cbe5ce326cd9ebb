"""PostgreSQL's partitions that are older than anybody's retention: detached, counted, and dropped.

Counting takes minutes for a large one, and nobody may wait for it: the partition is taken out of its table
first, which takes a moment; from then on nobody writes it. Each step is a transaction of its own, and the
next round goes on where a process that ended has left off.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from sqlalchemy import Connection, Engine, bindparam, text, update

from db.engine import begin, read
from db.errors import DatabaseMisconfigured, DatabaseUnavailable
from db.retention.partitions import LOCK, TIMES, Partition, made, parts
from db.tables import folded

# Whoever adds up the results holds this, so that none leaves its table meanwhile or is booked as pruned.
_ADDING_UP = 7316529048221003
_HELD = text(f"SELECT pg_advisory_xact_lock_shared({_ADDING_UP})")
_FREE = text(f"SELECT pg_try_advisory_xact_lock({_ADDING_UP})")
# Tables with a partition's name that are in no table.
_DETACHED = text(
    "SELECT relname FROM pg_class WHERE relkind = 'r' AND NOT relispartition"
    " AND relnamespace = (SELECT relnamespace FROM pg_class WHERE oid = CAST('events' AS regclass))"
    " AND relname ~ '^(events_[0-9]{8}(_[0-9]{8}_default)?"
    "|(rollups|exceptions|split_rollups|logs|log_rollups)_[0-9]{6})$'"
    " ORDER BY relname"
)
_COUNT_S = 3_600.0


def drop(engine: Engine, before: datetime | None) -> int:
    """Drop the partitions that end by then, and book the events their rows stood for; returns how many.

    Those that are in use, or that somebody adds up, are left to another time. Does nothing on SQLite. Raises
    DatabaseUnavailable when any could not be dropped.
    """
    if engine.dialect.name != "postgresql" or before is None:
        return 0
    failures: list[DatabaseUnavailable] = []
    with read(engine) as conn:
        old = [one for one in made(conn) if one.after <= before.date()]
    for table in TIMES:
        # One that is in use is left alone at once: deposits wait for as long as each try.
        with _collected(failures):
            for partition in old:
                if partition.table == table:
                    _detach(engine, partition)
    with read(engine) as conn:
        left = detached(conn)
    dropped = 0
    for name in left:
        with _collected(failures):
            dropped += _count_and_drop(engine, name)
    if failures:
        raise failures[0]
    return dropped


@contextmanager
def none_dropped(engine: Engine) -> Iterator[None]:
    """No partition is detached or dropped meanwhile. Waits for a moment; raises DatabaseUnavailable."""
    if engine.dialect.name != "postgresql":
        yield
        return
    with begin(engine) as conn:
        conn.execute(_HELD)
        yield


def detached(conn: Connection) -> list[str]:
    """Names of what is detached, and not counted and booked yet."""
    return list(conn.execute(_DETACHED).scalars()) if conn.dialect.name == "postgresql" else []


def rollups_left(conn: Connection, customer_id: int, table: str = "rollups") -> int:
    """Events, or log records, that the customer's rows in such tables stand for."""
    tables = [name for name in detached(conn) if parts(name)[0] == table]
    one = "SELECT COALESCE(SUM(count), 0) FROM {} WHERE customer_id = :of"
    found = (conn.execute(text(one.format(name)), {"of": customer_id}).scalar_one() for name in tables)
    return sum(map(int, found))


@contextmanager
def _collected(failures: list[DatabaseUnavailable]) -> Iterator[None]:
    try:
        yield
    except DatabaseUnavailable as error:
        failures.append(error)


def _detach(engine: Engine, partition: Partition) -> None:
    with begin(engine) as conn:
        # Deposits queue behind this lock, so it does not wait long; the next call tries again.
        conn.execute(text("SET LOCAL lock_timeout = '1s'"))
        if not conn.execute(_FREE).scalar_one():
            return
        conn.execute(LOCK)
        if partition in made(conn):
            conn.execute(text(f"ALTER TABLE {partition.table} DETACH PARTITION {partition.name}"))


def _count_and_drop(engine: Engine, name: str) -> int:
    try:
        counted = _counted(engine, name)
    except DatabaseMisconfigured:
        with read(engine) as conn:
            if name in detached(conn):
                raise
        return 0  # another process has dropped it meanwhile
    with begin(engine) as conn:
        conn.execute(text("SET LOCAL lock_timeout = '1s'"))
        if not conn.execute(_FREE).scalar_one() or name not in detached(conn):
            return 0
        column = folded.c[f"pruned_{parts(name)[0]}"]
        book = update(folded).where(folded.c.customer_id == bindparam("of"))
        if counted:
            conn.execute(book.values({column: column + bindparam("gone")}), counted)
        conn.execute(text(f"DROP TABLE {name}"))
    return 1


def _counted(engine: Engine, name: str) -> list[dict[str, int]]:
    """The events that each customer's rows stand for."""
    stood_for = "COUNT(*)" if parts(name)[0] in ("events", "logs") else "SUM(count)"
    statement = text(f"SELECT customer_id, {stood_for} FROM {name} GROUP BY customer_id")  # noqa: S608 (our own names)
    with read(engine, statement_s=_COUNT_S) as conn:
        return [{"of": customer_id, "gone": int(gone)} for customer_id, gone in conn.execute(statement)]

"""Figures of all customers for the metrics, in statements that are short whatever the ledger holds."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import Connection, Engine, func, select, text

from db.engine import read
from db.ledger.windows import IS_OPEN
from db.ledger.workers import DISPATCHER
from db.retention.partitions import made
from db.tables import dispatch, quarantine, windows, workers

MOST_ROWS = 100_000
"""Rows of quarantine are counted up to here."""
_STEPS = 10_000  # of SQLite's machine between two looks at the clock
_WAL = text(
    "SELECT CASE WHEN has_function_privilege('pg_ls_waldir()', 'execute')"
    " THEN (SELECT SUM(size) FROM pg_ls_waldir()) END"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenWindows:
    """A customer's windows in flight; `oldest_accepted_at` is µs since 1970."""

    windows: int = 0
    batches: int = 0
    bytes: int = 0
    oldest_accepted_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """What was deposited of a customer in some time: batches and bytes, and how long their windows were in
    flight, in seconds and all together.
    """

    batches: int = 0
    bytes: int = 0
    in_flight_s: float = 0.0


NO_WINDOWS, NOTHING_DONE = OpenWindows(), Throughput()


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerBeat:
    """What a worker or a dispatcher last said of itself; `beat` changes while it lives."""

    name: str
    beat: int
    dedicated: bool
    queues: tuple[str, ...]
    processes: int

    @property
    def dispatches(self) -> bool:
        return self.name.startswith(DISPATCHER)


@dataclass(frozen=True, slots=True, kw_only=True)
class Storage:
    """Sizes in bytes, None where the role may not look. By table: partitions, and seconds until the newest
    ends.
    """

    bytes: int
    wal_bytes: int | None = None
    partitions: Mapping[str, tuple[int, float]]


@contextmanager
def bounded(engine: Engine, seconds: float) -> Iterator[Connection]:
    """A read-only transaction of which each statement may take so many seconds, on both databases.

    Raises `db.errors.DatabaseUnavailable` when one takes longer.
    """
    with read(engine, statement_s=seconds) as connection:
        if connection.dialect.name == "postgresql":
            yield connection
            return
        driver = connection.connection.driver_connection
        assert driver is not None
        until = time.monotonic() + seconds
        driver.set_progress_handler(lambda: time.monotonic() > until, _STEPS)
        try:
            yield connection
        finally:
            driver.set_progress_handler(None, 0)


def open_windows(conn: Connection) -> dict[int, OpenWindows]:
    """Of the customers that have any."""
    columns = windows.c
    sums = select(
        *(columns.customer_id, func.count(), func.sum(columns.batches), func.sum(columns.bytes)),
        func.min(columns.first_accepted_at),
    )
    return {
        row[0]: OpenWindows(windows=row[1], batches=int(row[2]), bytes=int(row[3]), oldest_accepted_at=row[4])
        for row in conn.execute(sums.where(IS_OPEN).group_by(columns.customer_id))
    }


def deposited(conn: Connection, after_us: int, upto_us: int) -> dict[int, Throughput]:
    """Of the customers of whom anything was deposited in (after, upto], µs since 1970."""
    columns = windows.c
    sums = select(
        func.max(columns.customer_id),
        *(func.sum(columns.batches), func.sum(columns.bytes)),
        func.sum(columns.deposited_at - columns.created_at),
    ).where(columns.deposited_at > after_us, columns.deposited_at <= upto_us)
    # Grouped by the bare column, SQLite would rather walk all windows in the order of their customers.
    return {
        row[0]: Throughput(batches=int(row[1]), bytes=int(row[2]), in_flight_s=max(0.0, int(row[3]) / 1e6))
        for row in conn.execute(sums.group_by(columns.customer_id + 0))
    }


def cursors(conn: Connection) -> dict[int, int]:
    """The next offset to dispatch, by customer."""
    return {row[0]: row[1] for row in conn.execute(select(dispatch.c.customer_id, dispatch.c.next_offset))}


def quarantine_kept(conn: Connection, customer_id: int) -> int:
    """Rows of quarantine that nobody has replayed or discarded, counted up to `MOST_ROWS`."""
    of = quarantine.c
    kept = select(of.id).where(of.customer_id == customer_id, of.state.in_(("kept", "replaying")))
    counted: int = conn.execute(
        select(func.count()).select_from(kept.limit(MOST_ROWS).subquery())
    ).scalar_one()
    return counted


def beats(conn: Connection) -> list[WorkerBeat]:
    """Of all workers and dispatchers that did not say that they stop, living ones and dead ones."""
    of = workers.c
    rows = conn.execute(select(of.name, of.seen_at, of.dedicated, of.queues, of.processes))
    return [
        WorkerBeat(
            name=row.name,
            beat=row.seen_at,
            dedicated=row.dedicated,
            queues=tuple(row.queues),
            processes=row.processes,
        )
        for row in rows
    ]


def storage(conn: Connection, now_us: int) -> Storage:
    """How large the database is, and how far its partitions reach."""
    if conn.dialect.name == "sqlite":
        path = conn.engine.url.database or ""
        return Storage(bytes=_size(Path(path)), wal_bytes=_size(Path(f"{path}-wal")), partitions={})
    size = conn.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
    wal = conn.execute(_WAL).scalar_one()
    there = made(conn)
    now_s = now_us / 1e6
    found = {}
    for table in sorted({one.table for one in there}):
        ends = [
            datetime.combine(one.after, datetime.min.time(), UTC).timestamp()
            for one in there
            if one.table == table
        ]
        found[table] = (len(ends), max(ends) - now_s)
    return Storage(bytes=int(size), wal_bytes=None if wal is None else int(wal), partitions=found)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0

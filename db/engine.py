"""Connections: to write, to read a consistent snapshot, to look something up; each with a deadline."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote
from weakref import WeakKeyDictionary

import psycopg
from sqlalchemy import Connection, Engine, NullPool, QueuePool, create_engine, event, exc
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import ConnectionPoolEntry

from db import clock, percentiles, revision
from db.errors import DatabaseMisconfigured, DatabaseUnavailable
from db.settings import DatabaseSettings

_WRITES = "sluice_writes"
# SQLite's primary result codes that a later try may not meet: busy, locked, no memory, read-only (a WAL being
# recovered), interrupted, I/O error, damage to be repaired, full, cannot open, protocol (WAL lock race).
_SQLITE_TRANSIENT = frozenset({5, 6, 7, 8, 9, 10, 11, 13, 14, 15})
# The keys of a few hundred thousand traces; with the default of 2 MiB merging into them is half as fast.
_SQLITE_CACHE_KIB = 16_384
_RESTED_S = 0.5
_UNDEFINED_TABLE, _NOT_ALLOWED = "42P01", "42501"
# Classes and codes of PostgreSQL after which the same statement may work later: the connection, who may
# connect, rolled back for others (deadlock), resources, locks, the operator and timeouts, the host, its
# configuration, an old snapshot; a server that only reads, transactions that were ended for their time, and
# damage to be repaired. Not 54, a limit of the program: it meets the same rows again. Nor XX000, which an
# allocation that is too large is, too.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
_TRANSIENT_CLASSES = frozenset({"08", "28", "40", "53", "55", "57", "58", "F0", "72"})
_TRANSIENT = frozenset({"25006", "25P03", "25P04", "XX001", "XX002"})
# Who wants to know how long the transactions of an engine waited for a connection.
_waited: WeakKeyDictionary[Engine, Callable[[float], None]] = WeakKeyDictionary()
_NO_DATABASE = 26  # SQLite's code for a file of another kind
_REMEDY = "the database lacks a table: run `alembic upgrade head` on it first"


def connect(settings: DatabaseSettings, *, pooled: bool = True, create: bool = False) -> Engine:
    """An engine for the configured database; nothing is opened yet, so call it before or after a fork.

    With `pooled=False` each connection is closed after its use. A SQLite file that is not there is made with
    `create` only, and else DatabaseUnavailable at the first use. Raises DatabaseMisconfigured for a URL that
    is neither SQLite nor PostgreSQL.
    """
    try:
        url = make_url(settings.url)
    except exc.ArgumentError:
        raise DatabaseMisconfigured("DATABASE_URL is no URL; use sqlite:///path or postgresql://…") from None
    match url.get_backend_name():
        case "sqlite":
            return _sqlite(url, settings, pooled, create)
        case "postgresql":
            return _postgresql(url, settings, pooled)
        case other:
            raise DatabaseMisconfigured(f"DATABASE_URL names {other}; use sqlite:///path or postgresql://…")


def watch(engine: Engine, waited: Callable[[float], None], lost: Callable[[], None]) -> None:
    """Tell of each connection that a transaction got after so many seconds, and of each that was lost."""
    _waited[engine] = waited

    @event.listens_for(engine, "invalidate")
    def invalidated(_driver: object, _record: ConnectionPoolEntry, _error: BaseException | None) -> None:
        lost()


def _connected(engine: Engine) -> Connection:
    waited = _waited.get(engine)
    if waited is None:
        return engine.connect()
    began_s = time.perf_counter()
    try:
        return engine.connect()
    finally:
        waited(time.perf_counter() - began_s)


@contextmanager
def begin(engine: Engine) -> Iterator[Connection]:
    """A write transaction, committed at the end of the block; on SQLite it takes the write lock at once.

    Raises DatabaseUnavailable for a database that is away, locked or too slow, DatabaseMisconfigured for
    missing tables, and the first time for a schema of another release.
    """
    with _named(), _connected(engine).execution_options(**{_WRITES: True}) as conn, conn.begin():
        revision.keep(conn)
        clock.keep(conn)
        yield conn


@contextmanager
def read(engine: Engine, *, statement_s: float | None = None) -> Iterator[Connection]:
    """A read-only transaction in which every statement sees the same snapshot. Raises as `begin` does.

    A statement may take `statement_s` seconds in place of what the settings say.
    """
    with _named(), _connected(engine) as conn:
        if conn.dialect.name == "postgresql":
            conn = conn.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with conn.begin():
            revision.keep(conn)
            clock.keep(conn)
            allow(conn, statement_s)
            yield conn


@contextmanager
def look(engine: Engine) -> Iterator[Connection]:
    """For statements that read and need no common snapshot: each costs PostgreSQL one answer, and no more.

    Raises as `begin` does.
    """
    with _named(), _connected(engine) as conn:
        if conn.dialect.name == "postgresql":
            conn = conn.execution_options(isolation_level="AUTOCOMMIT")
        with conn.begin():
            revision.keep(conn)
            clock.keep(conn)
            yield conn


def allow(conn: Connection, statement_s: float | None) -> None:
    """Until the transaction's end a statement may take that many seconds. SQLite knows no such limit."""
    if statement_s is not None and conn.dialect.name == "postgresql":
        conn.exec_driver_sql(f"SET LOCAL statement_timeout = {statement_s * 1000:.0f}")


def _postgresql(url: URL, settings: DatabaseSettings, pooled: bool) -> Engine:
    limits = {
        "statement_timeout": f"{settings.statement_timeout_s * 1000:.0f}",
        "lock_timeout": f"{settings.lock_timeout_s * 1000:.0f}",
        "timezone": "UTC",
    }
    arguments: dict[str, Any] = {
        "connect_timeout": settings.connect_timeout_s,
        "options": " ".join(f"-c {name}={value}" for name, value in limits.items()),
        # A server that vanished without a reset is noticed in about the time that a statement may take.
        "tcp_user_timeout": int(settings.statement_timeout_s * 1000),
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 3,
    }
    engine = create_engine(
        url.set(drivername="postgresql+psycopg"), connect_args=arguments, **_pool(settings, pooled)
    )

    @event.listens_for(engine, "checkin")
    def rest(_driver: object, record: ConnectionPoolEntry) -> None:
        record.info["resting_since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def wake(driver: Any, record: ConnectionPoolEntry, _proxy: object) -> None:
        # One that was ended while it rested is replaced; to ask one in steady use would cost a round trip.
        now = time.monotonic()
        if now - record.info.get("resting_since", now) < _RESTED_S:
            return
        try:
            engine.dialect.do_ping(driver)
        except psycopg.Error as error:
            raise exc.DisconnectionError from error

    return engine


def _sqlite(url: URL, settings: DatabaseSettings, pooled: bool, create: bool) -> Engine:
    path = url.database
    if not path or path == ":memory:" or path.startswith("file:"):
        raise DatabaseMisconfigured(
            "SQLite needs a file that other processes can open: DATABASE_URL=sqlite:///path"
        )
    if create:
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseMisconfigured(
                f"the folder of the SQLite file cannot be made: {error.strerror}"
            ) from error
    wait_s = settings.sqlite_busy_timeout_s
    # As a URI, so that opening makes no file; the query of ours goes with it.
    file = f"file:{quote(str(Path(path).absolute()))}?mode={'rwc' if create else 'rw'}"
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        creator=lambda: sqlite3.connect(file, uri=True, timeout=wait_s, check_same_thread=False),
        **_pool(settings, pooled),
    )

    @event.listens_for(engine, "connect")
    def prepare(driver: sqlite3.Connection, _record: object) -> None:
        driver.isolation_level = None  # the driver would begin (deferred) on its own; `begin` below does
        driver.execute(f"PRAGMA busy_timeout = {wait_s * 1000:.0f}")
        if driver.execute("PRAGMA journal_mode").fetchone() != ("wal",):
            driver.execute("PRAGMA journal_mode = WAL")
        driver.execute("PRAGMA synchronous = NORMAL")
        driver.execute("PRAGMA foreign_keys = ON")
        driver.execute(f"PRAGMA cache_size = -{_SQLITE_CACHE_KIB}")
        percentiles.register(driver)

    @event.listens_for(engine, "begin")
    def start(conn: Connection) -> None:
        writes = conn.get_execution_options().get(_WRITES, False)
        conn.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN DEFERRED")

    return engine


def _pool(settings: DatabaseSettings, pooled: bool) -> dict[str, Any]:
    if not pooled:
        return {"poolclass": NullPool}
    return {
        "poolclass": QueuePool,
        "pool_size": settings.pool_size,
        "max_overflow": 0,
        "pool_timeout": settings.pool_wait_s,
        "pool_use_lifo": True,
    }


@contextmanager
def _named() -> Iterator[None]:
    """Turn what the driver raises into the error whose name is the reaction it calls for."""
    try:
        yield
    except exc.TimeoutError as error:
        raise DatabaseUnavailable("no database connection became free in time") from error
    except exc.DBAPIError as error:
        named = None if error.orig is None else _reaction(error.orig)
        if named is None and error.connection_invalidated:
            named = DatabaseUnavailable("the database closed the connection")
        if named is None:
            raise
        raise named from error
    except (psycopg.Error, sqlite3.Error) as error:  # bulk writes use the driver itself
        named = _reaction(error)
        if named is None:
            raise
        raise named from error


def _reaction(error: BaseException) -> DatabaseUnavailable | DatabaseMisconfigured | None:
    if isinstance(error, psycopg.Error):
        if error.sqlstate == _UNDEFINED_TABLE:
            return DatabaseMisconfigured(_REMEDY)
        if error.sqlstate == _NOT_ALLOWED:
            return DatabaseMisconfigured(f"the role of DATABASE_URL lacks a right: {error}")
        return DatabaseUnavailable(str(error)) if _is_transient(error) else None
    if isinstance(error, sqlite3.Error):
        # None comes from errors that Python itself raises, such as a closed connection.
        code = getattr(error, "sqlite_errorcode", None)
        if code == _NO_DATABASE:
            return DatabaseMisconfigured("DATABASE_URL names a file that is no SQLite database")
        if "no such table" in str(error):
            return DatabaseMisconfigured(_REMEDY)
        if isinstance(error, sqlite3.OperationalError) if code is None else code & 0xFF in _SQLITE_TRANSIENT:
            return DatabaseUnavailable(str(error))
    return None


def _is_transient(error: psycopg.Error) -> bool:
    if error.sqlstate is None:  # of the client: a connection that is gone or was never there
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate[:2] in _TRANSIENT_CLASSES or error.sqlstate in _TRANSIENT

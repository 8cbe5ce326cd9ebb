"""What `flask doctor` asks a database: read-only, in statements that a deadline bounds."""

import sqlite3
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Engine, NullPool, bindparam, create_engine, exc, inspect, text
from sqlalchemy.engine import make_url

from db.engine import connect
from db.errors import DatabaseMisconfigured
from db.retention.partitions import TIMES, Partition, made, month
from db.revision import leave_unchecked
from db.settings import DatabaseSettings
from db.tables import metadata

OLDEST_POSTGRESQL = 13
OLDEST_SQLITE = (3, 35)
"""The first with RETURNING."""

_BROKEN = text(
    "SELECT c.relname FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid"
    " JOIN pg_class t ON t.oid = i.indrelid JOIN pg_namespace n ON n.oid = t.relnamespace"
    " WHERE NOT (i.indisvalid AND i.indisready) AND n.nspname = ANY (current_schemas(false))"
    " ORDER BY c.relname"
)
_ON_TABLES = text(
    "SELECT indexname FROM pg_indexes WHERE schemaname = ANY (current_schemas(false))"
    " UNION SELECT conname FROM pg_constraint"
)
_IN_USE = text("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
_SETTINGS = text("SELECT name, setting FROM pg_settings WHERE name IN :names").bindparams(
    bindparam("names", expanding=True)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connections:
    """PostgreSQL's: how many it lets everybody have, and how many there are now."""

    most: int
    in_use: int


def release(conn: Connection) -> tuple[str, bool]:
    """Kind and version of the database, and whether Sluice works with one as old as that."""
    version = tuple(part for part in conn.dialect.server_version_info or () if isinstance(part, int))
    if conn.dialect.name == "postgresql":
        return f"PostgreSQL {'.'.join(map(str, version))}", version >= (OLDEST_POSTGRESQL,)
    return f"SQLite {'.'.join(map(str, version))}", version >= OLDEST_SQLITE


def settings(conn: Connection, *names: str) -> dict[str, str]:
    """PostgreSQL's own settings, as this connection has them."""
    return {row.name: row.setting for row in conn.execute(_SETTINGS, {"names": names})}


def journal_mode(conn: Connection) -> str:
    """SQLite's: `wal` when readers and the writer do not wait for each other."""
    return str(conn.exec_driver_sql("PRAGMA journal_mode").scalar_one())


def connections(conn: Connection) -> Connections:
    """PostgreSQL only. Those that are kept for superusers do not count."""
    found = settings(conn, "max_connections", "superuser_reserved_connections", "reserved_connections")
    most = int(found.pop("max_connections")) - sum(map(int, found.values()))
    return Connections(most=most, in_use=int(conn.execute(_IN_USE).scalar_one()))


def broken_indexes(conn: Connection) -> list[str]:
    """PostgreSQL's that an interrupted build left: they cost every write, and no query uses them."""
    return [] if conn.dialect.name != "postgresql" else list(conn.execute(_BROKEN).scalars())


def missing_tables(conn: Connection) -> list[str]:
    """Of those that this release works on."""
    return sorted(set(metadata.tables) - set(inspect(conn).get_table_names()))


def missing_indexes(conn: Connection) -> list[str]:
    """Indexes of this release that are on no table."""
    wanted = {str(index.name) for table in metadata.tables.values() for index in table.indexes}
    if conn.dialect.name == "postgresql":
        there = set(conn.execute(_ON_TABLES).scalars())
    else:
        there = set(conn.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'index'").scalars())
    return sorted(wanted - there)


def missing_partitions(conn: Connection, days: list[date]) -> list[Partition]:
    """Those of the results of these days. None are missing on SQLite, which has no partitions."""
    if conn.dialect.name != "postgresql":
        return []
    there = made(conn)
    wanted = {month(table, day) for table in TIMES for day in days}
    return sorted(one for one in wanted if not _covered(one, there))


def _covered(wanted: Partition, there: list[Partition]) -> bool:
    """Whether partitions of the month, or of all of its days, are there."""
    reached = wanted.first
    for one in sorted(there):
        if one.table == wanted.table and one.first <= reached < one.after:
            reached = one.after
    return reached >= wanted.after or reached - wanted.first >= timedelta(days=31)


def clock_s(conn: Connection) -> float | None:
    """Seconds since 1970 by the database's clock; None where it has none but this host's."""
    if conn.dialect.name != "postgresql":
        return None
    found: Any = conn.execute(text("SELECT extract(epoch FROM clock_timestamp())")).scalar_one()
    return float(found)


def file_of(settings: DatabaseSettings) -> Path | None:
    """SQLite's file; None for another database. Raises DatabaseMisconfigured."""
    try:
        url = make_url(settings.url)
    except exc.ArgumentError:
        raise DatabaseMisconfigured("DATABASE_URL is no URL; use sqlite:///path or postgresql://…") from None
    return Path(url.database) if url.get_backend_name() == "sqlite" and url.database else None


def connect_to_look(settings: DatabaseSettings) -> Engine:
    """An engine that makes no file, no folder and no change, whatever the schema's revision: SQLite's is
    opened for reading only.

    Raises DatabaseMisconfigured, also for an SQLite file that is not there.
    """
    path = file_of(settings)
    if path is None:
        return leave_unchecked(connect(settings, pooled=False))
    if not path.exists():
        raise DatabaseMisconfigured(f"there is no database {path}: run `alembic upgrade head`")
    where, wait_s = f"file:{quote(str(path.absolute()))}?mode=ro", settings.sqlite_busy_timeout_s

    def opened() -> sqlite3.Connection:
        return sqlite3.connect(where, uri=True, timeout=wait_s, check_same_thread=False)

    return leave_unchecked(create_engine("sqlite+pysqlite://", creator=opened, poolclass=NullPool))

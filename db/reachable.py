"""Whether the database takes us: what a retry will mend is told from what only a new setting will."""

import re
import sqlite3
from contextlib import suppress
from pathlib import Path

from sqlalchemy import exc

from db.engine import connect, look
from db.errors import DatabaseMisconfigured, DatabaseUnavailable
from db.settings import DatabaseSettings

# A server says this before it has agreed on a language with us, so in its own; libpq gives no code for it.
_NO_DATABASE = re.compile(r'database "(.*)" does not exist')
_REFUSED = re.compile(
    r"password authentication failed|no password supplied|authentication failed for user"
    r'|role ".*" does not exist|no pg_hba\.conf entry|is not permitted to log in'
    r"|permission denied for database"
)
_UNKNOWN_HOST = re.compile(
    r"Name or service not known|No address associated with hostname|nodename nor servname provided"
)
_REASON = re.compile(r"FATAL: +(.*)")


def check(settings: DatabaseSettings, *, schema: bool = True) -> None:
    """Connect once; returns when that works, and when the database is away.

    Blocks for `connect_timeout_s` at most. Raises DatabaseMisconfigured when there is no such SQLite file,
    host or database, when user or password are refused, or when the schema is not one for this release: who
    makes the `schema` does not ask for that.
    """
    engine = connect(settings, pooled=False)
    try:
        if engine.dialect.name == "sqlite":
            check_file(Path(engine.url.database or ""))
        with engine.connect():
            pass
        if schema:
            with suppress(DatabaseUnavailable), look(engine):
                return
    except exc.DBAPIError as error:
        _tell(engine.url.host, engine.url.database, error)
    finally:
        engine.dispose()


def check_file(path: Path) -> None:
    """Raises DatabaseMisconfigured when the file is not a database that can be opened."""
    if path.is_dir():
        raise DatabaseMisconfigured(f"DATABASE_URL names {str(path)!r}, which is a folder")
    if not path.exists():
        raise DatabaseMisconfigured(
            f"there is no database {str(path)!r}: correct DATABASE_URL, or make it: `alembic upgrade head`"
        )
    try:
        path.open("rb").close()
    except OSError as error:
        raise DatabaseMisconfigured(f"the database {str(path)!r} cannot be read: {error.strerror}") from None


def _tell(host: str | None, name: str | None, error: exc.DBAPIError) -> None:
    said = str(error.orig)
    if isinstance(error.orig, sqlite3.DatabaseError):
        if "file is not a database" in said:
            raise DatabaseMisconfigured(f"DATABASE_URL names {name!r}, which is no SQLite database") from None
        return
    if _UNKNOWN_HOST.search(said):
        raise DatabaseMisconfigured(f"DATABASE_URL names the host {host!r}, which nobody knows") from None
    if missing := _NO_DATABASE.search(said):
        raise DatabaseMisconfigured(
            f"the server has no database {missing[1]!r}: correct DATABASE_URL, or create it"
        ) from None
    if _REFUSED.search(said):
        reason = _REASON.search(said)
        raise DatabaseMisconfigured(
            "the database refuses the user or password of DATABASE_URL:"
            f" {reason[1] if reason else 'there is no password'}"
        ) from None

"""Run the migrations on the database that DATABASE_URL names, beside processes that work on it.

PostgreSQL: a transaction for each migration, with bounded waits. A lock that is not free in time is waited
for again later, so that nobody queues behind it for long. SQLite: one transaction for all.

A caller in Python may pass its own settings as `config.attributes["settings"]`.
"""

import sys
import time
from typing import NoReturn

from alembic import context
from sqlalchemy import Connection, exc, text

import db.reachable
from db.engine import begin, connect
from db.errors import DatabaseUnavailable
from db.revision import leave_unchecked
from db.settings import DatabaseSettings
from environment import starting
from environment.errors import UNAVAILABLE

# Two processes that start at once must not migrate at once; any constant of our own will do.
_MIGRATION_LOCK = 7_316_529_048_221_001
_OTHER_WITHIN_S = 3600.0
# A migration gives up rather than make working processes queue behind its lock. It does so in less than
# PostgreSQL's `deadlock_timeout` (1 s): where it holds one table and waits for the next, nobody else has to
# be the victim of a deadlock.
BOUNDS = {"lock_timeout_s": 0.4, "statement_timeout_s": 120.0}
TRIES, PAUSE_S = 80, 1.0
_IN_USE = ("55P03", "40P01")  # lock_not_available, deadlock_detected


def migrate(connection: Connection, *, each: bool) -> None:
    """`each`: a transaction for each migration, of Alembic's; otherwise the caller's for all."""
    context.configure(connection=connection, transactional_ddl=True, transaction_per_migration=each)
    with context.begin_transaction():
        context.run_migrations()


def wait_for_others(connection: Connection) -> None:
    """Be the only one who migrates, for as long as this connection lasts.

    It asks again and again: an index that another one builds concurrently would wait for a transaction in
    which we wait for it. Raises SystemExit.
    """
    until = time.monotonic() + _OTHER_WITHIN_S
    while True:
        with connection.begin():
            free = connection.execute(text("SELECT pg_try_advisory_lock(:lock)"), {"lock": _MIGRATION_LOCK})
            if free.scalar():
                return
        if time.monotonic() > until:
            raise SystemExit("another migration of this database has run for an hour: look at it first")
        time.sleep(0.5)


def migrate_patiently(connection: Connection) -> None:
    """Try again while a lock is not free. Raises SystemExit at last: what was migrated stays."""
    wanted = context.get_revision_argument()
    tries = 1 if str(wanted).startswith(("+", "-")) else TRIES  # what is relative would go further each time
    for again in reversed(range(tries)):
        try:
            migrate(connection, each=True)
            return
        except exc.OperationalError as error:
            if getattr(error.orig, "sqlstate", None) not in _IN_USE:
                raise
            if not again:
                raise SystemExit(
                    "a table is in use for too long: run the same command again, or stop the processes first"
                ) from None
            print("a table is in use; trying again", file=sys.stderr)
            time.sleep(PAUSE_S)


def main() -> None:
    if context.is_offline_mode():
        raise SystemExit("migrations need the database itself; run alembic without --sql")
    given = context.config.attributes.get("settings")
    if given is not None:
        _run(given)
        return
    with starting.stopping():
        starting.check()
        settings = DatabaseSettings()
        if not settings.url.startswith("sqlite"):  # a file is made below
            db.reachable.check(settings, schema=False)
        try:
            _run(settings)
        except DatabaseUnavailable as error:
            _stop_unavailable(str(error))
        except exc.OperationalError as error:
            _stop_unavailable(str(error.orig))


def _stop_unavailable(said: str) -> NoReturn:
    print(f"Error: the database is away: {' '.join(said.split())}", file=sys.stderr)
    raise SystemExit(UNAVAILABLE)


def _run(settings: DatabaseSettings) -> None:
    engine = leave_unchecked(connect(settings.model_copy(update=BOUNDS), pooled=False, create=True))
    try:
        if engine.dialect.name == "postgresql":
            with engine.connect() as connection:
                wait_for_others(connection)
                migrate_patiently(connection)
        else:
            with begin(engine) as connection:
                migrate(connection, each=False)
    finally:
        engine.dispose()


main()

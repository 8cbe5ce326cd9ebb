"""Run the migrations on the database that DATABASE_URL names, in one transaction with bounded waits.

A caller in Python may pass its own settings as `config.attributes["settings"]`.
"""

from alembic import context
from sqlalchemy import Connection, text

from db.engine import begin, connect
from db.settings import DatabaseSettings

# Two processes that start at once must not migrate at once; any constant of our own will do.
_MIGRATION_LOCK = 7_316_529_048_221_001
# A migration runs beside working processes: it gives up rather than make them queue behind its lock.
_BOUNDS = ("SET LOCAL lock_timeout = '5s'", "SET LOCAL statement_timeout = '120s'")


def migrate(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _MIGRATION_LOCK})
        for bound in _BOUNDS:
            connection.execute(text(bound))
    context.configure(connection=connection, transactional_ddl=True)
    with context.begin_transaction():
        context.run_migrations()


def main() -> None:
    if context.is_offline_mode():
        raise SystemExit("migrations need the database itself; run alembic without --sql")
    settings = context.config.attributes.get("settings") or DatabaseSettings()
    engine = connect(settings, pooled=False)
    try:
        with begin(engine) as connection:
            migrate(connection)
    finally:
        engine.dispose()


main()

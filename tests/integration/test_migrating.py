"""A filled database of every earlier revision is migrated while a release of then works on it."""

import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, exc, text

from db.accounting import books
from db.engine import begin, connect, read
from db.revision import HEAD, leave_unchecked
from db.settings import DatabaseSettings
from db.tables import metadata
from deploy.local.postgres import PostgresServer
from tests.integration.test_db_migrations import alembic, not_a_partition
from tests.old_rows import CUSTOMERS, WINDOWS, OldRelease
from tests.unit.test_revision import scripts
from tests.whole import until

EARLIER = [script.revision for script in scripts() if script.revision != HEAD]
LOCK_TIMEOUT_S = DatabaseSettings().lock_timeout_s


@pytest.fixture
def postgresql_empty(postgres: PostgresServer) -> Iterator[str]:
    name = f"old_{secrets.token_hex(6)}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


@contextmanager
def at(url: str, revision: str) -> Iterator[OldRelease]:
    engine = leave_unchecked(connect(DatabaseSettings(url=url)))
    try:
        command.upgrade(alembic(engine), revision)
        release = OldRelease(engine=engine)
        release.fill()
        yield release
    finally:
        engine.dispose()


def differences(engine: Engine) -> list[object]:
    """Between the schema and the one that this release's code expects."""
    with begin(engine) as conn:
        options = {"include_name": not_a_partition, "compare_server_default": True}
        return list(compare_metadata(MigrationContext.configure(conn, opts=options), metadata))


def migrated_at_work(url: str, revision: str) -> None:
    with at(url, revision) as old:
        with old.working():
            command.upgrade(alembic(old.engine), "head")
            there = old.written
            end = time.monotonic() + 60
            while old.written < there + 3 and not old.problems and time.monotonic() < end:
                time.sleep(0.02)
        assert old.problems == []
        assert old.written >= there + 3, "the old release works on the new schema"
        assert old.slowest_s < LOCK_TIMEOUT_S
        assert differences(old.engine) == []
        with read(old.engine) as conn:
            assert set(old.kept(conn).values()) == {True}, old.kept(conn)
            windows = conn.execute(text("SELECT count(*) FROM windows")).scalar_one()
            ledgers = books.ledgers(conn)
        assert windows == CUSTOMERS * WINDOWS + old.written
        assert [one.differences() for one in ledgers.values()] == [[]] * CUSTOMERS


@pytest.mark.parametrize("revision", EARLIER)
def test_sqlite_is_migrated_at_work(tmp_path: Path, revision: str) -> None:
    migrated_at_work(f"sqlite:///{tmp_path / 'old.db'}", revision)


@pytest.mark.parametrize("revision", EARLIER)
def test_postgresql_is_migrated_at_work(postgresql_empty: str, revision: str) -> None:
    migrated_at_work(postgresql_empty, revision)


def test_an_index_whose_build_was_interrupted_is_built_anew(postgresql_empty: str) -> None:
    with at(postgresql_empty, "0006") as old:
        build = "CREATE UNIQUE INDEX CONCURRENTLY ix_windows_parts ON windows (customer_id)"
        with (
            old.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn,
            pytest.raises(exc.DBAPIError, match="could not create unique index"),
        ):
            conn.execute(text(build))
        command.upgrade(alembic(old.engine), "head")
        assert differences(old.engine) == []
        with read(old.engine) as conn:
            invalid = "SELECT count(*) FROM pg_index WHERE NOT indisvalid"
            assert conn.execute(text(invalid)).scalar_one() == 0


def test_a_migration_that_ended_between_its_columns_and_its_indexes_goes_on(postgresql_empty: str) -> None:
    with at(postgresql_empty, "0004") as old:
        with begin(old.engine) as conn:
            conn.execute(text("UPDATE alembic_version SET version_num = '0003'"))
            conn.execute(text("DROP INDEX ix_quarantine_customer_id_created_at"))
        command.upgrade(alembic(old.engine), "head")
        assert differences(old.engine) == []


def waits_for_windows(engine: Engine) -> bool:
    """Whether somebody who would change the table waits for its readers."""
    waiting = (
        "SELECT count(*) FROM pg_locks WHERE relation = 'windows'::regclass AND NOT granted"
        " AND mode = 'AccessExclusiveLock' AND database = (SELECT oid FROM pg_database"
        " WHERE datname = current_database())"
    )
    with read(engine) as conn:
        return bool(conn.execute(text(waiting)).scalar_one())


def test_a_migration_waits_for_a_table_in_turns_and_for_old_readers_of_an_index(
    postgresql_empty: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with at(postgresql_empty, "0002") as old:
        holding = threading.Event()

        def hold() -> None:
            """A long reader, in the way of a new column of `windows`; then one in the way of its index."""
            with read(old.engine) as conn:
                conn.execute(text("SELECT count(*) FROM windows"))
                holding.set()
                until(lambda: waits_for_windows(old.engine), "the migration to wait")
                until(lambda: not waits_for_windows(old.engine), "it to give up")
            with read(old.engine) as conn:
                conn.execute(text("SELECT count(*) FROM customers"))
                time.sleep(2.5)

        reader = threading.Thread(target=hold)
        reader.start()
        assert holding.wait(30)
        with old.working():
            command.upgrade(alembic(old.engine), "head")
        reader.join(60)
        assert "a table is in use; trying again" in capsys.readouterr().err
        assert old.problems == []
        assert differences(old.engine) == []

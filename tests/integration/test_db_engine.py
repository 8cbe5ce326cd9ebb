"""Connections: every wait has an end, and what ends it has the name of the reaction it calls for."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from db.customers import pipeline_versions, rows as customers
from db.engine import begin, connect, read
from db.errors import DatabaseMisconfigured, DatabaseUnavailable
from db.settings import DatabaseSettings
from environment.errors import Misconfigured
from tests.integration.ledger_rows import at_once


@contextmanager
def impatient(url: str, **changes: float) -> Iterator[Engine]:
    waits = {"lock_timeout_s": 0.2, "sqlite_busy_timeout_s": 0.2, "pool_wait_s": 0.2}
    engine = connect(DatabaseSettings(url=url, **(waits | changes)))  # type: ignore[arg-type]
    try:
        yield engine
    finally:
        engine.dispose()


def test_a_writer_that_waits_too_long_for_another_is_unavailable(database_url: str, slug: str) -> None:
    with impatient(database_url) as engine:
        with begin(engine) as conn:
            customer = customers.add(conn, slug)
        with begin(engine) as first:
            customers.set_state(first, customer.id, "paused")
            with pytest.raises(DatabaseUnavailable), begin(engine) as second:
                customers.set_state(second, customer.id, "blocked")
        with read(engine) as conn:
            assert customers.everyone(conn)[0].state == "paused"


def test_a_read_sees_one_moment_while_others_commit(engine: Engine, slug: str) -> None:
    with read(engine) as reader:
        assert customers.get(reader, slug) is None
        with begin(engine) as writer:
            customers.add(writer, slug)
        assert customers.get(reader, slug) is None
    with read(engine) as reader:
        assert customers.get(reader, slug) is not None


def test_a_write_that_raises_leaves_nothing(engine: Engine, slug: str) -> None:
    def fail() -> None:
        with begin(engine) as conn:
            customers.add(conn, slug)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with read(engine) as conn:
        assert customers.everyone(conn) == []


def test_a_writer_that_reads_first_waits_for_the_one_before_it(engine: Engine, slug: str) -> None:
    with begin(engine) as conn:
        customer = customers.add(conn, slug)

    def put() -> int:
        with begin(engine) as conn:
            conn.execute(text("SELECT COUNT(*) FROM pipelines")).scalar_one()
            return pipeline_versions.put(conn, customer.id, "{}")

    assert sorted(at_once([put] * 4), key=str) == [1, 2, 3, 4]


def test_a_full_pool_is_unavailable(database_url: str) -> None:
    with (
        impatient(database_url, pool_size=1) as engine,
        read(engine),
        pytest.raises(DatabaseUnavailable, match="free"),
        read(engine),
    ):
        pass


def test_an_unpooled_engine_keeps_no_connection(database_url: str) -> None:
    engine = connect(DatabaseSettings(url=database_url), pooled=False)
    with read(engine) as conn:
        conn.execute(text("SELECT 1"))
    assert engine.pool.status() == "NullPool"


def test_a_statement_that_takes_too_long_is_unavailable(postgresql_url: str) -> None:
    with (
        impatient(postgresql_url, statement_timeout_s=0.2) as engine,
        pytest.raises(DatabaseUnavailable, match="statement timeout"),
        begin(engine) as conn,
    ):
        conn.execute(text("SELECT pg_sleep(30)"))


def test_a_connection_that_the_server_ends_is_unavailable_and_the_next_one_works(postgresql_url: str) -> None:
    with impatient(postgresql_url) as engine, impatient(postgresql_url) as killer:

        def be_ended() -> None:
            with begin(engine) as conn:
                pid = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
                with begin(killer) as other:
                    other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
                conn.execute(text("SELECT 1"))

        with pytest.raises(DatabaseUnavailable):
            be_ended()
        with begin(engine) as conn:
            assert conn.execute(text("SELECT 1")).scalar_one() == 1


def test_a_connection_that_was_ended_while_it_rested_is_replaced(
    postgresql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.engine._RESTED_S", 0.0)
    with impatient(postgresql_url) as engine, impatient(postgresql_url) as killer:
        with begin(engine) as conn:
            pid = conn.execute(text("SELECT pg_backend_pid()")).scalar_one()
        with begin(killer) as other:
            other.execute(text("SELECT pg_terminate_backend(:pid)"), {"pid": pid})
        with begin(engine) as conn:
            assert conn.execute(text("SELECT pg_backend_pid()")).scalar_one() != pid


def test_deadlocked_writers_end_with_one_unavailable(engine: Engine, slug: str) -> None:
    with begin(engine) as conn:
        pair = [customers.add(conn, f"{slug}-{letter}").id for letter in "ab"]
    barrier, raised = threading.Barrier(2), []

    def write(order: list[int]) -> None:
        try:
            with begin(engine) as conn:
                customers.set_state(conn, order[0], "paused")
                if engine.dialect.name == "postgresql":
                    barrier.wait(30)
                customers.set_state(conn, order[1], "paused")
        except DatabaseUnavailable as error:
            raised.append(error)

    threads = [threading.Thread(target=write, args=(order,)) for order in (pair, pair[::-1])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(raised) == (1 if engine.dialect.name == "postgresql" else 0)


def test_a_server_that_is_not_there_is_unavailable() -> None:
    engine = connect(DatabaseSettings(url="postgresql://nobody@127.0.0.1:1/none"))
    with pytest.raises(DatabaseUnavailable), read(engine):
        pass


def test_a_database_without_tables_says_how_to_get_them(tmp_path: Path) -> None:
    engine = connect(DatabaseSettings(url=f"sqlite:///{tmp_path / 'empty.db'}"), create=True)
    with pytest.raises(DatabaseMisconfigured, match="alembic upgrade head"), read(engine) as conn:
        customers.everyone(conn)


def test_another_kind_of_database_is_refused_without_showing_the_password() -> None:
    with pytest.raises(Misconfigured, match="mysql") as refused:
        connect(DatabaseSettings(url="mysql://me:secret@host/name"))
    assert "secret" not in str(refused.value)
    with pytest.raises(Misconfigured) as refused:
        connect(DatabaseSettings(url="not a url secret"))
    assert "secret" not in str(refused.value)


def test_a_settings_object_does_not_show_the_password() -> None:
    assert "secret" not in repr(DatabaseSettings(url="postgresql://me:secret@host/name"))


def test_an_absurd_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLUICE_DB_POOL_SIZE", "0")
    with pytest.raises(Misconfigured, match="SLUICE_DB_POOL_SIZE"):
        DatabaseSettings()


def test_a_new_sqlite_file_gets_its_folder_and_its_pragmas(tmp_path: Path) -> None:
    settings = DatabaseSettings(url=f"sqlite:///{tmp_path / 'new' / 'sluice.db'}")
    with pytest.raises(DatabaseUnavailable), begin(connect(settings)):
        pass
    assert not (tmp_path / "new").exists()
    engine = connect(settings, create=True)
    with engine.connect() as conn:
        pragmas = {
            name: conn.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 10_000}

"""Old partitions are counted and dropped without anybody waiting, and what fails in pruning fails alone."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta

import pytest
from sqlalchemy import Engine, text, update

from db import tables
from db.accounting import books
from db.clock import now_us
from db.customers import rows as customers
from db.customers.rows import Customer
from db.engine import begin, connect, read
from db.errors import DatabaseUnavailable
from db.results import of_customer, prepare, write_events
from db.retention import partitions
from db.retention.pruning import prune
from db.retention.retired_partitions import detached, drop, none_dropped
from db.settings import DatabaseSettings
from streams import raw
from tests.integration.ledger_rows import add_customer
from tests.integration.result_tables import an_event, events_table
from tests.integration.test_db_pruning import DAY_US, rows, write
from tests.receiver import Home
from tests.whole import until
from webapp.accounting.books import books_with_results

KEPT_DAYS = 30


@pytest.fixture
def engine(postgresql_url: str) -> Iterator[Engine]:
    engine = connect(DatabaseSettings(url=postgresql_url, lock_timeout_s=2), pooled=False)
    yield engine
    engine.dispose()


@pytest.fixture
def customer(engine: Engine, slug: str) -> Customer:
    """With results of today and of a hundred days ago, of which retention keeps none."""
    return with_results(engine, slug)


def with_results(engine: Engine, slug: str) -> Customer:
    customer, now = add_customer(engine, slug), now_us(engine)
    partitions.make_ahead(engine)
    write(engine, customer, 1, [now, now - 100 * DAY_US], each=2)
    with begin(engine) as conn:
        customers.set_retention(conn, customer.id, KEPT_DAYS)
    return customer


def counted(engine: Engine, customer: Customer) -> int:
    with none_dropped(engine), read(engine) as conn:
        return books.results(conn, customer.id).rollups


def left(engine: Engine) -> list[str]:
    with read(engine) as conn:
        return detached(conn)


@contextmanager
def held(engine: Engine, statement: str) -> Iterator[None]:
    """Locks of somebody else's, until the end."""
    with begin(engine) as conn:
        conn.execute(text(statement))
        yield


def test_a_deposit_goes_on_while_an_old_partition_is_counted_and_the_books_agree_at_each_step(
    engine: Engine, customer: Customer
) -> None:
    now = now_us(engine)
    with read(engine) as conn:
        there = len(partitions.made(conn))
    patient = connect(DatabaseSettings(url=engine.url.render_as_string(hide_password=False)), pooled=False)
    with ThreadPoolExecutor(1) as thread:
        with held(engine, "LOCK TABLE folded IN EXCLUSIVE MODE"):  # it can't be booked
            dropping = thread.submit(prune, patient, DatabaseSettings(), now)
            until(lambda: left(engine), "an old partition to be detached")
            with begin(engine) as conn:
                write_events(
                    conn,
                    of_customer(
                        customer.id, events_table([an_event(started_at=now, window_id=2, position=0)])
                    ),
                )
            assert counted(engine, customer) == 4
        dropping.result(60)
    prune(engine, DatabaseSettings(), now)
    assert left(engine) == []
    assert counted(engine, customer) == 4
    assert rows(engine, tables.events, customer) == 2
    with read(engine) as conn:
        assert len(partitions.made(conn)) == there - 2


def test_nothing_leaves_its_table_while_the_results_are_added_up(engine: Engine, customer: Customer) -> None:
    now = now_us(engine)
    with none_dropped(engine):
        assert prune(engine, DatabaseSettings(), now).partitions == 0
        assert left(engine) == []
    assert prune(engine, DatabaseSettings(), now).partitions == 2


def test_what_one_customer_holds_keeps_no_others_rows_from_being_pruned(engine: Engine, slug: str) -> None:
    stuck, other = (with_results(engine, f"{slug}-{name}") for name in ("a", "b"))
    lock = f"SELECT 1 FROM deposits WHERE customer_id = {stuck.id} FOR UPDATE"
    with held(engine, lock), held(engine, "LOCK TABLE events IN ACCESS SHARE MODE"):
        pruned = prune(engine, DatabaseSettings(), now_us(engine))
    assert pruned.failed == 3  # the partitions, and two tables: the old rollups went with their partition
    assert (rows(engine, tables.interactions, stuck), rows(engine, tables.interactions, other)) == (2, 1)
    assert prune(engine, DatabaseSettings(), now_us(engine)).failed == 0
    assert rows(engine, tables.interactions, stuck) == 1


def test_what_the_database_refuses_of_one_customer_keeps_no_others_rows_from_being_pruned(
    engine: Engine, slug: str
) -> None:
    full, other = (with_results(engine, f"{slug}-{name}") for name in ("a", "b"))
    with begin(engine) as conn:
        mine = tables.folded.c.customer_id == full.id
        conn.execute(update(tables.folded).where(mine).values(pruned_interactions=2**63 - 1))
    assert prune(engine, DatabaseSettings(), now_us(engine)).failed == 1
    assert (rows(engine, tables.interactions, full), rows(engine, tables.interactions, other)) == (2, 1)


def test_late_rows_of_what_is_detached_and_not_counted_yet_are_taken(engine: Engine, slug: str) -> None:
    """Also beside the days of an earlier release, whose month is made of gaps."""
    customer, now = add_customer(engine, slug), datetime.fromtimestamp(now_us(engine) / 1e6, UTC)
    first = partitions.month("events", (now - timedelta(days=70)).date()).first
    kept = partitions.day(first + timedelta(days=9))
    late = events_table([an_event(started_at=_us(kept.after), window_id=1, position=0)])
    with begin(engine) as conn:
        customers.set_retention(conn, customer.id, (now.date() - kept.first).days)
        conn.execute(text(f"CREATE TABLE {kept.name} (LIKE events INCLUDING DEFAULTS INCLUDING CONSTRAINTS)"))
        bounds = f"FROM ('{kept.first} 00:00:00+00') TO ('{kept.after} 00:00:00+00')"
        conn.execute(text(f"ALTER TABLE events ATTACH PARTITION {kept.name} FOR VALUES {bounds}"))
    prepare(engine, [late], [])
    before = partitions.Partition("events", first, kept.first)
    with begin(engine) as conn:  # as if whoever drops it had ended here
        conn.execute(text(f"ALTER TABLE events DETACH PARTITION {before.name}"))
        conn.execute(text(f"DROP TABLE {partitions.Partition('events', kept.after, _next(first)).name}"))
    another = connect(DatabaseSettings(url=engine.url.render_as_string(hide_password=False)), pooled=False)
    prepare(another, [late], [])
    with begin(another) as conn:
        write_events(conn, of_customer(customer.id, late))
    another.dispose()
    assert left(engine) == [before.name]


def _us(of: date) -> int:
    return int(datetime(of.year, of.month, of.day, tzinfo=UTC).timestamp() * 1e6)


def _next(first: date) -> date:
    return partitions.month("events", first).after


def in_haste(engine: Engine) -> Engine:
    """To the same database, whose statements may take a second."""
    url = engine.url.render_as_string(hide_password=False)
    return connect(DatabaseSettings(url=url, statement_timeout_s=1, lock_timeout_s=60), pooled=False)


def test_results_are_added_up_for_longer_than_a_statement_may_take(
    engine: Engine, customer: Customer, home: Home
) -> None:
    home.broker.declare(raw(customer.slug), max_bytes=10**7, max_age_s=3600, segment_bytes=10**6)
    hasty = in_haste(engine)
    lock = "LOCK TABLE interactions IN ACCESS EXCLUSIVE MODE"
    with held(engine, lock), pytest.raises(DatabaseUnavailable), read(hasty) as conn:
        books.results(conn, customer.id)
    with ThreadPoolExecutor(1) as thread:
        with held(engine, lock):
            adding = thread.submit(
                lambda: list(books_with_results(hasty, home.broker, [customer], deadline_s=30))
            )
            until(lambda: _waits(engine), "the sum to wait")
            time.sleep(1.5)  # longer than other statements may take
        [found] = adding.result(60)
    assert found.results is not None
    assert found.results.interactions == 4


def _waits(engine: Engine) -> bool:
    with read(engine) as conn:
        waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'interactions'::regclass AND NOT granted"
        return bool(conn.execute(text(waiting)).scalar_one())


def test_a_detached_partition_is_counted_for_longer_than_a_statement_may_take(
    engine: Engine, customer: Customer
) -> None:
    before = datetime.fromtimestamp(now_us(engine) / 1e6, UTC) - timedelta(days=KEPT_DAYS)
    with begin(engine) as conn:  # as if whoever drops it had ended here
        [name] = [
            one.name for one in partitions.made(conn) if one.table == "rollups" and one.after <= before.date()
        ]
        conn.execute(text(f"ALTER TABLE rollups DETACH PARTITION {name}"))
    with ThreadPoolExecutor(1) as thread:
        with held(engine, f"LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE"):
            dropping = thread.submit(drop, in_haste(engine), before)
            until(lambda: dropping.done() or _waits_for_longer(engine), "the count to wait")
        assert dropping.result(60) == 2
    assert (left(engine), counted(engine, customer)) == ([], 4)


def _waits_for_longer(engine: Engine) -> bool:
    """Whether a statement has waited for a lock for longer than the hasty may take."""
    waiting = (
        "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        " AND clock_timestamp() - query_start > interval '1.5 s'"
    )
    with read(engine) as conn:
        return conn.execute(text(waiting)).first() is not None

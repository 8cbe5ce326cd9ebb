"""How often a transaction waits for PostgreSQL to answer, which is what one that answers late costs."""

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace

import psycopg
import pytest
from sqlalchemy import Engine, make_url, select

from db import bulk, tables
from db.accounting import books
from db.customers.rows import Customer
from db.engine import begin, connect, read
from db.errors import LostRace
from db.ledger import costs, deposits
from db.ledger.costs import CustomerCost
from db.results import of_customer, prepare, writing
from db.settings import DatabaseSettings
from tests.integration.ledger_rows import (
    NOW_US,
    add_customer,
    claim,
    deposited,
    new_batch,
    record,
)
from tests.integration.result_tables import (
    an_event,
    events_table,
    interactions_table,
    rollups_table,
    some_interaction,
    some_rollup,
)
from tests.proxy import Proxy

COST = CustomerCost(windows=1, batches=1, events=2)


@pytest.fixture
def proxy(postgresql_url: str) -> Iterator[Proxy]:
    url = make_url(postgresql_url)
    assert url.host is not None
    assert url.port is not None
    with Proxy(url.host, url.port) as proxy:
        yield proxy


@pytest.fixture
def late(postgresql_url: str, proxy: Proxy) -> Iterator[Engine]:
    """PostgreSQL behind the proxy, over one connection."""
    url = make_url(postgresql_url).set(host="127.0.0.1", port=proxy.port)
    engine = connect(DatabaseSettings(url=url.render_as_string(hide_password=False), pool_size=1))
    yield engine
    engine.dispose()


def book(
    engine: Engine,
    customer: Customer,
    before: int,
    window_ids: list[int],
    *,
    kept: int = 2,
    also: Sequence[int] = (),
) -> None:
    """Deposit these windows with some results, as the deposit does; and close others with them."""
    chance = random.Random(before)
    kept_events = [an_event(window_id=window_ids[0], position=number) for number in range(kept)]
    left = {
        "interactions": interactions_table([some_interaction(chance, traces=1)]),
        "rollups": rollups_table([some_rollup(chance) for _ in range(20)]),
        "events": events_table(kept_events),
    }
    prepare(engine, [left["events"]], [left["rollups"]])
    with begin(engine) as conn:
        owed = deposits.take(conn, customer.id, before, before + len(window_ids), window_ids)
        assert sorted(owed) == window_ids
        with writing(conn, **{name: of_customer(customer.id, table) for name, table in left.items()}):
            costs.add(conn, {customer.id: COST}, NOW_US)
            marked = deposits.marking(
                conn, [deposited(each, batches=1, kept=2) for each in (*window_ids, *also)], NOW_US
            )
        marked()


def kept_rows(engine: Engine) -> int:
    with read(engine) as conn:
        return len(conn.execute(select(tables.events.c.position)).all())


def test_a_deposit_of_many_windows_waits_for_few_answers(late: Engine, proxy: Proxy, slug: str) -> None:
    customer = add_customer(late, slug)
    epoch = claim(late, customer)
    windows = [record(late, customer, epoch, offset, offset) for offset in range(12)]
    book(late, customer, 0, windows[:2])
    proxy.turns = 0
    book(late, customer, 2, windows[2:])
    # BEGIN; the cursor and what is owed; the rollups that are there; all that is written; COMMIT.
    assert proxy.turns <= 5
    with read(late) as conn:
        ledger = books.ledger(conn, customer.id)
    assert (ledger.deposited, ledger.kept, ledger.differences()) == (12, 24, [])


def test_a_window_is_recorded_with_its_batches_by_one_statement(
    late: Engine, proxy: Proxy, slug: str
) -> None:
    customer = add_customer(late, slug)
    epoch = claim(late, customer)
    record(late, customer, epoch, 0, 4)
    proxy.turns = 0
    record(late, customer, epoch, 5, 204)
    assert proxy.turns <= 3  # BEGIN, the statement, COMMIT


def test_many_events_are_copied_and_all_else_is_written_together(
    late: Engine, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk, "MOST_AS_ARRAYS", 3)
    customer = add_customer(late, slug)
    epoch = claim(late, customer)
    for number, kept in enumerate((3, 4, 50)):
        book(late, customer, number, [record(late, customer, epoch, number, number)], kept=kept)
    assert kept_rows(late) == 57


def test_an_error_among_statements_sent_together_is_the_first_ones(late: Engine, slug: str) -> None:
    customer = add_customer(late, slug)

    def fail() -> None:
        with begin(late) as conn, bulk.together(conn):
            bulk.driver(conn).execute("SELECT 1 / 0")
            costs.add(conn, {customer.id: COST}, NOW_US)

    with pytest.raises(psycopg.errors.DivisionByZero):
        fail()
    with begin(late) as conn, bulk.together(conn):
        costs.add(conn, {customer.id: COST}, NOW_US)  # the connection is fit to be used again
    with read(late) as conn:
        assert len(conn.execute(select(tables.costs)).all()) == 1


def test_what_was_sent_with_a_lost_race_is_taken_back(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    first, second = (record(engine, customer, epoch, offset, offset) for offset in range(2))
    book(engine, customer, 0, [first])
    with pytest.raises(LostRace):
        book(engine, customer, 0, [second])
    with read(engine) as conn:
        assert set(deposits.undeposited(conn, [customer.id], [first, second])) == {second}
    with pytest.raises(LostRace):
        book(engine, customer, 1, [second], also=[first])
    assert kept_rows(engine) == 2
    book(engine, customer, 1, [second])
    assert kept_rows(engine) == 4


def test_reasons_of_failures_are_kept_with_a_window(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    window_id = record(engine, customer, claim(engine, customer), 0, 0)
    failed = replace(deposited(window_id, batches=1, quarantined=1), failures={"it's \\ odd": 1})
    with begin(engine) as conn:
        deposits.mark(conn, [failed], NOW_US)
    with read(engine) as conn:
        kept = conn.execute(select(tables.windows.c.failures)).scalar_one()
    assert (json.loads(kept) if isinstance(kept, str) else kept) == {"it's \\ odd": 1}


def test_discarded_batches_are_remembered_without_a_window(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    batches = [new_batch(0), new_batch(1, discarded=True)]
    window_id = record(
        engine, customer, claim(engine, customer), 0, 0, next_offset_after=2, batches=batches, discarded=1
    )
    with read(engine) as conn:
        seen = tables.batches.c
        rows = conn.execute(select(seen.batch_id, seen.window_id, seen.state).order_by(seen.batch_id)).all()
    assert [tuple(row) for row in rows] == [
        ("batch-0", window_id, "accepted"),
        ("batch-1", None, "discarded"),
    ]

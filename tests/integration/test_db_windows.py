"""Windows: rung, delivered, split, forgotten."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from sqlalchemy import Engine, select, text

from db import tables
from db.accounting import books, receipts
from db.customers.rows import Customer
from db.engine import begin, connect, read
from db.errors import LostRace
from db.ledger import generations, windows
from db.ledger.generations import Generation
from db.ledger.windows import Part
from db.retention.pruning import prune
from db.settings import DatabaseSettings
from tests.integration.ledger_rows import NOW_US, add_customer, at_once, claim, deposit, deposited, record
from tests.whole import until

MONTH_US = 31 * 86_400_000_000


def parts(first: int, middle: int, last: int) -> list[Part]:
    return [
        Part(first_offset=a, last_offset=b, skipped=[], batches=b - a + 1, bytes=1)
        for a, b in ((first, middle), (middle + 1, last))
    ]


def test_a_split_window_is_replaced_by_its_parts_and_the_books_follow(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    window_id = record(engine, customer, claim(engine, customer), 0, 9)
    with begin(engine) as conn:
        left, right = windows.split(conn, window_id, parts(0, 3, 9))
    with read(engine) as conn:
        found = {one.id: one for one in windows.open(conn, customer.id)}
        parent = windows.get(conn, window_id)
        receipt = receipts.find(conn, customer.id, "batch-4")
        ledger = books.ledger(conn, customer.id)
    assert found.keys() == {left, right}
    assert {one.parent_id for one in found.values()} == {window_id}
    assert (found[left].last_offset, found[right].first_offset) == (3, 4)
    assert parent is not None
    assert parent.state == "split"
    assert receipt is not None
    assert receipt.window_id == right
    assert (ledger.in_flight, ledger.windows_in_flight, ledger.differences()) == (10, 2, [])


def test_a_window_is_split_once_however_many_try(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    window_id = record(engine, customer, claim(engine, customer), 0, 9)

    def split(middle: int) -> list[int]:
        with begin(engine) as conn:
            return windows.split(conn, window_id, parts(0, middle, 9))

    outcomes = at_once([partial(split, 3), partial(split, 4), partial(split, 5)])
    assert sum(isinstance(outcome, LostRace) for outcome in outcomes) == 2, outcomes
    with read(engine) as conn:
        assert len(windows.open(conn, customer.id)) == 2


def test_a_deposited_window_is_not_split_and_a_split_one_not_deposited(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    done, halved = record(engine, customer, epoch, 0, 9), record(engine, customer, epoch, 10, 19)
    deposit(engine, customer, 0, [deposited(done)])
    with pytest.raises(LostRace), begin(engine) as conn:
        windows.split(conn, done, parts(0, 3, 9))
    with begin(engine) as conn:
        windows.split(conn, halved, parts(10, 13, 19))
    with pytest.raises(LostRace):
        deposit(engine, customer, 1, [deposited(halved)])


def test_parts_that_lose_a_batch_are_refused(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    window_id = record(engine, customer, claim(engine, customer), 0, 9)
    with pytest.raises(ValueError, match="batches"), begin(engine) as conn:
        windows.split(conn, window_id, parts(0, 3, 8))


def test_a_window_is_stale_until_it_is_rung_again(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    window_id = record(engine, customer, claim(engine, customer), 0, 9)
    with begin(engine) as conn:
        assert windows.stale(conn, customer.id, NOW_US) == []
        assert [one.id for one in windows.stale(conn, customer.id, NOW_US + 1)] == [window_id]
        windows.note_ring(conn, [window_id], NOW_US + 5)
        assert windows.stale(conn, customer.id, NOW_US + 1) == []
        rung = windows.get(conn, window_id)
    assert rung is not None
    assert rung.rings == 2


def test_work_names_the_pinned_pipeline(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    window_id = record(engine, customer, claim(engine, customer), 0, 9)
    with read(engine) as conn:
        work = windows.work(conn, window_id)
        assert windows.work(conn, window_id + 1) is None
    assert work is not None
    assert (work.slug, work.pipeline, work.window.id) == (slug, "{}", window_id)


def test_yields_are_of_deposited_windows(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    done = record(engine, customer, epoch, 0, 9)
    record(engine, customer, epoch, 10, 19)
    deposit(engine, customer, 0, [deposited(done, kept=70, dropped=7)])
    with read(engine) as conn:
        assert windows.yields(conn) == {customer.id: (77, 10_000)}
        assert windows.open_ids(conn, [customer.id]) == {customer.id: {done + 1}}


def in_parts(engine: Engine, customer: Customer, epoch: int, first: int) -> int:
    """Record a window of four batches, split it into four and deposit these; returns its id."""
    whole = record(engine, customer, epoch, first, first + 3)
    single = [
        Part(first_offset=at, last_offset=at, skipped=[], batches=1, bytes=1)
        for at in range(first, first + 4)
    ]
    with begin(engine) as conn:
        ids = windows.split(conn, whole, single)
    deposit(engine, customer, first, [deposited(one, kept=1) for one in ids])
    return whole


def test_parts_are_forgotten_however_many_follow_the_newest_window(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    for round_ in range(2):
        in_parts(engine, customer, epoch, 8 * round_)
        newest = in_parts(engine, customer, epoch, 8 * round_ + 4)
        prune(engine, DatabaseSettings(), NOW_US + MONTH_US, most_rows=2)
        with read(engine) as conn:
            mine = tables.windows.c.customer_id == customer.id
            assert list(conn.execute(select(tables.windows.c.id).where(mine)).scalars()) == [newest]
            ledger = books.ledger(conn, customer.id)
        assert (ledger.kept, ledger.differences()) == (8 * round_ + 8, [])


def test_a_generation_takes_in_the_parts_of_a_split_that_is_under_way(postgresql_url: str, slug: str) -> None:
    engine = connect(DatabaseSettings(url=postgresql_url), pooled=False)
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    window_id = record(engine, customer, epoch, 0, 9)

    def lose_all() -> Generation:
        with begin(engine) as conn:
            return generations.begin(
                conn,
                customer_id=customer.id,
                epoch=epoch,
                kind="replaced",
                before=10,
                after=0,
                edge=None,
                now_us=NOW_US,
            )

    def waits() -> bool:
        query = (
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
        with read(engine) as conn:
            return conn.execute(text(query)).first() is not None

    with ThreadPoolExecutor(1) as thread:
        with begin(engine) as conn:
            windows.split(conn, window_id, parts(0, 3, 9))
            losing = thread.submit(lose_all)
            until(waits, "the new generation to wait for the split")
        assert losing.result(60).expired == 10
    with read(engine) as conn:
        assert windows.open(conn, customer.id) == []
        ledger = books.ledger(conn, customer.id)
    assert (ledger.expired, ledger.in_flight, ledger.differences()) == (10, 0, [])

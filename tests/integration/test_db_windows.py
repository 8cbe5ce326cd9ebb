"""Windows: rung, delivered, split."""

from functools import partial

import pytest
from sqlalchemy import Engine

from db import books, receipts, windows
from db.engine import begin, read
from db.errors import LostRace
from db.windows import Part
from tests.integration.ledger_rows import NOW_US, add_customer, at_once, claim, deposit, deposited, record


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
    done, cut = record(engine, customer, epoch, 0, 9), record(engine, customer, epoch, 10, 19)
    deposit(engine, customer, 0, [deposited(done)])
    with pytest.raises(LostRace), begin(engine) as conn:
        windows.split(conn, done, parts(0, 3, 9))
    with begin(engine) as conn:
        windows.split(conn, cut, parts(10, 13, 19))
    with pytest.raises(LostRace):
        deposit(engine, customer, 1, [deposited(cut)])


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
        windows.rung(conn, [window_id], NOW_US + 5)
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

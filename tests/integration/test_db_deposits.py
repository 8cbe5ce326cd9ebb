"""Deposits: of those that race, one wins, and a window is booked once."""

from functools import partial

import pytest
from sqlalchemy import Engine

from db.accounting import books
from db.engine import begin, read
from db.errors import LostRace
from db.ledger import deposits
from tests.integration.ledger_rows import NOW_US, add_customer, at_once, claim, deposit, deposited, record


def test_of_deposits_that_race_exactly_one_wins(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    for number in range(8):
        window_id = record(engine, customer, epoch, number, number)
        once = partial(deposit, engine, customer, number, [deposited(window_id, kept=5)])
        outcomes = at_once([once, once, once])
        assert sum(isinstance(outcome, LostRace) for outcome in outcomes) == 2, outcomes
    with read(engine) as conn:
        ledger = books.ledger(conn, customer.id)
        assert deposits.position(conn, customer.id) == 8
    assert (ledger.deposited, ledger.kept, ledger.differences()) == (8, 40, [])


def test_a_window_that_is_marked_twice_takes_the_whole_deposit_back(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    first, second = record(engine, customer, epoch, 0, 0), record(engine, customer, epoch, 1, 1)
    deposit(engine, customer, 0, [deposited(first, kept=5)])
    with pytest.raises(LostRace):
        deposit(engine, customer, 1, [deposited(second, kept=7), deposited(first, kept=5)])
    with read(engine) as conn:
        assert deposits.position(conn, customer.id) == 1
        assert set(deposits.undeposited(conn, [customer.id], [first, second])) == {second}
        assert books.ledger(conn, customer.id).kept == 5


def test_a_deposit_from_where_the_cursor_no_longer_is_is_refused(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    with begin(engine) as conn:
        deposits.advance(conn, customer.id, 0, 4)
    for stale in (0, 3, 5):
        with pytest.raises(LostRace), begin(engine) as conn:
            deposits.advance(conn, customer.id, stale, 9)
    with read(engine) as conn:
        assert deposits.position(conn, customer.id) == 4


def test_locking_alone_leaves_the_cursor_where_it_is(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    with begin(engine) as conn:
        deposits.advance(conn, customer.id, 0, 0)
    with read(engine) as conn:
        assert deposits.position(conn, customer.id) == 0


def test_marking_another_customers_window_does_not_touch_this_ones_books(engine: Engine, slug: str) -> None:
    one, other = add_customer(engine, f"{slug}-a"), add_customer(engine, f"{slug}-b")
    window_id = record(engine, one, claim(engine, one), 0, 0)
    with begin(engine) as conn:
        assert deposits.undeposited(conn, [other.id], [window_id]) == {}
        deposits.mark(conn, [deposited(window_id, batches=1, kept=3)], NOW_US)
    with read(engine) as conn:
        assert books.ledger(conn, other.id).kept == 0


def test_results_that_account_for_another_number_of_batches_close_no_window(
    engine: Engine, slug: str
) -> None:
    customer = add_customer(engine, slug)
    window_id = record(engine, customer, claim(engine, customer), 0, 2)
    with pytest.raises(ValueError, match="holds 3 batches, its results 2"):
        deposit(engine, customer, 0, [deposited(window_id, batches=2, kept=3)])
    with read(engine) as conn:
        assert deposits.position(conn, customer.id) == 0

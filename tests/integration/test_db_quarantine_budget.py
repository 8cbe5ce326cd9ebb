"""A customer's quarantine takes so many bytes a day, whoever writes; rows beyond it say what they were."""

import hashlib

from sqlalchemy import Engine

from db import tables
from db.clock import DAY_US
from db.customers import rows as customers
from db.engine import begin, read
from db.quarantine import budget, rows as quarantine
from db.quarantine.budget import Spent
from db.quarantine.rows import NewQuarantine
from db.retention.pruning import prune
from db.settings import DatabaseSettings
from tests.integration.ledger_rows import NOW_US, add_customer, at_once, new_quarantine

BUDGET = 1_000
TODAY = NOW_US // DAY_US


def row(offset: int, size: int, **changes: object) -> NewQuarantine:
    return new_quarantine(offset, bytes=offset.to_bytes(2, "big") * (size // 2), **changes)


def test_rows_beyond_the_days_budget_keep_their_place_their_size_and_their_digest(
    engine: Engine, slug: str
) -> None:
    customer = add_customer(engine, slug)
    rows = [row(0, 600), row(1, 600), row(2, 400), row(3, 2), row(4, 0)]
    with begin(engine) as conn:
        withheld = quarantine.add(conn, customer.id, rows, daily_bytes=BUDGET)
    assert [one.stream_offset for one in withheld] == [1, 3]
    with read(engine) as conn:
        found = {one.stream_offset: one for one in quarantine.listing(conn, customer.id)}
        spent = budget.spent(conn, customer.id, day=TODAY)
        assert budget.withheld_on(conn, TODAY) == {customer.id: 2}
    assert {at: (one.size, one.withheld) for at, one in found.items()} == {
        0: (600, None),
        1: (0, 600),
        2: (400, None),
        3: (0, 2),
        4: (0, None),
    }
    assert found[1].sha256 == hashlib.sha256(rows[1].bytes).hexdigest()
    assert (found[1].reason, found[1].batch_id, found[1].state) == ("batch_id_reused", "batch-1", "kept")
    assert spent == Spent(bytes=BUDGET, withheld=2, withheld_bytes=602)


def test_each_day_and_each_customer_has_a_budget_and_a_customer_may_have_its_own(
    engine: Engine, slug: str
) -> None:
    small, other = add_customer(engine, f"{slug}-a"), add_customer(engine, f"{slug}-b")
    with begin(engine) as conn:
        customers.set_limits(conn, small.id, {"quarantine_daily_bytes": 10})
    rows = [row(at, 600, created_at=NOW_US + at * DAY_US // 2) for at in range(6)]
    with begin(engine) as conn:
        assert len(quarantine.add(conn, small.id, rows, daily_bytes=BUDGET)) == 6
        lost = quarantine.add(conn, other.id, rows, daily_bytes=BUDGET)
    days = [one.created_at // DAY_US for one in rows]
    assert len(lost) == len(rows) - len(set(days))
    with begin(engine) as conn:
        customers.set_limits(conn, small.id, {"quarantine_daily_bytes": None})
        assert quarantine.add(conn, small.id, [row(9, 600)], daily_bytes=BUDGET) == []


def test_transactions_at_once_do_not_pass_the_budget_together(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)

    def one(offset: int) -> None:
        with begin(engine) as conn:
            quarantine.add(conn, customer.id, [row(offset, 300)], daily_bytes=BUDGET)

    assert at_once([lambda at=at: one(at) for at in range(8)]) == [None] * 8  # type: ignore[misc]
    with read(engine) as conn:
        found = quarantine.listing(conn, customer.id)
        assert sum(one.size for one in found) == 900
        assert sum(one.withheld or 0 for one in found) == 5 * 300
        assert budget.spent(conn, customer.id) == Spent(bytes=900, withheld=5, withheld_bytes=1_500)


def test_a_transaction_that_is_taken_back_spends_nothing(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    with engine.connect() as conn:
        quarantine.add(conn, customer.id, [row(0, 900)], daily_bytes=BUDGET)
        conn.rollback()
    with begin(engine) as conn:
        assert quarantine.add(conn, customer.id, [row(0, 900)], daily_bytes=BUDGET) == []


def test_days_are_forgotten_with_the_rows_that_came_on_them(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    with begin(engine) as conn:
        quarantine.add(conn, customer.id, [row(0, 600), row(1, 600)], daily_bytes=BUDGET)
    settings = DatabaseSettings(quarantine_days=10)
    for days, left in ((9, 1), (30, 0)):
        prune(engine, settings, NOW_US + days * DAY_US)
        with read(engine) as conn:
            assert len(conn.execute(tables.quarantine_days.select()).all()) == left

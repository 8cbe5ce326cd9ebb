"""What customers cost is added up by deposit, answered for the last hour and day, and then forgotten."""

from functools import partial

from sqlalchemy import Engine, func, select

from db.accounting.costs import last_accepted, last_day, last_hour
from db.engine import begin, read
from db.ledger import costs
from db.ledger.costs import PERIOD_US, CustomerCost
from db.retention.pruning import prune
from db.settings import DatabaseSettings
from db.tables import costs as costs_table
from tests.integration.ledger_rows import NOW_US, add_customer, at_once, claim, new_batch, new_window, record

COST = CustomerCost(windows=1, batches=2, events=30, bytes=400, processor_us=5_000)
HOUR_US = 3_600_000_000


def add(engine: Engine, customer_id: int, now_us: int, cost: CustomerCost = COST) -> None:
    with begin(engine) as conn:
        costs.add(conn, {customer_id: cost}, now_us)


def test_deposits_at_once_are_all_added_up(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    assert at_once([partial(add, engine, customer.id, NOW_US)] * 4) == [None] * 4
    with read(engine) as conn:
        assert last_hour(conn, NOW_US) == {
            customer.id: CustomerCost(windows=4, batches=8, events=120, bytes=1600, processor_us=20_000)
        }


def test_the_last_hour_and_the_last_day_are_told_apart(engine: Engine, slug: str) -> None:
    one, other, quiet = (add_customer(engine, f"{slug}-{name}") for name in "abc")
    now = NOW_US // PERIOD_US * PERIOD_US
    for hours_ago in (0, 1, 2, 24, 25, 48):
        add(engine, one.id, now - hours_ago * HOUR_US)
    add(engine, other.id, now - 23 * HOUR_US)
    with read(engine) as conn:
        hour, day = last_hour(conn, now), last_day(conn, now)
    assert {customer: cost.windows for customer, cost in hour.items()} == {one.id: 2}
    assert {customer: cost.windows for customer, cost in day.items()} == {one.id: 4, other.id: 1}
    assert quiet.id not in day


def test_what_is_older_is_forgotten_and_the_last_day_is_not(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    for hours_ago in range(30):
        add(engine, customer.id, NOW_US - hours_ago * HOUR_US)
    with read(engine) as conn:
        before = last_day(conn, NOW_US)
    with begin(engine) as conn:
        assert costs.forget(conn, NOW_US) == 1, "a period at a time"
    prune(engine, DatabaseSettings(), NOW_US)
    with read(engine) as conn:
        assert last_day(conn, NOW_US) == before
        assert conn.execute(select(func.count()).select_from(costs_table)).scalar_one() == 26


def test_when_a_customer_last_sent_is_that_of_the_newest_batch_dispatched(engine: Engine, slug: str) -> None:
    customer, silent = add_customer(engine, f"{slug}-a"), add_customer(engine, f"{slug}-b")
    epoch = claim(engine, customer)
    for offset, at_us in enumerate((NOW_US, NOW_US + 5, NOW_US + 3)):
        window = new_window(offset, offset, last_accepted_at=at_us)
        record(
            engine,
            customer,
            epoch,
            offset,
            offset,
            window=window,
            batches=[new_batch(offset, accepted_at=at_us)],
        )
    with read(engine) as conn:
        found = last_accepted(conn)
    assert found == {customer.id: NOW_US + 5}
    assert silent.id not in found

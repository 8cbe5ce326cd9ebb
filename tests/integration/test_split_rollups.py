"""Rollups by environment and version: merged as the others are, and bounded with what the table has."""

import random

import pytest
from sqlalchemy import Engine, select

from db import tables
from db.clock import now_us
from db.customers import rows as customers
from db.customers.rows import Customer
from db.engine import begin, read
from db.results import of_customer, prepare, write_split_rollups
from db.retention.pruning import prune
from db.settings import DatabaseSettings
from tests.integration.ledger_rows import add_customer
from tests.integration.result_tables import (
    START_US,
    WORDS,
    Row,
    merged_rollups,
    some_rollup,
    split_rollups_table,
)
from tests.integration.test_db_results import pieces

DAY_US = 86_400_000_000
Pair = tuple[str, str]


def stored(engine: Engine, customer: Customer) -> dict[Pair, dict[tuple[object, ...], tuple[object, ...]]]:
    """By environment and version what `merged_rollups` says."""
    query = select(*tables.split_rollups.c).where(tables.split_rollups.c.customer_id == customer.id)
    found: dict[Pair, dict[tuple[object, ...], tuple[object, ...]]] = {}
    with read(engine) as conn:
        for row in conn.execute(query):
            _, minute, environment, version, *rest = row
            found.setdefault((environment, version), {})[minute, *rest[:3]] = tuple(rest[3:])
    return found


def write(engine: Engine, customer: Customer, *rows: Row) -> None:
    with begin(engine) as conn:
        write_split_rollups(conn, of_customer(customer.id, split_rollups_table(rows)))


def a_split(version: str, count: int, **given: object) -> Row:
    key = {"minute": START_US, "service": "a", "operation": "b", "status": "ok", "bucket": 0}
    numbers = {"count": count, "duration_sum": count, "duration_min": 1, "duration_max": 1}
    return {**key, **numbers, "environment": "", "version": version, "most": 2, **given}


@pytest.mark.parametrize("a_transaction", [1, 4])
def test_they_merge_in_any_order_and_any_pieces(engine: Engine, slug: str, a_transaction: int) -> None:
    chance = random.Random(a_transaction)
    pairs = [("", ""), ("production", "1"), (WORDS[2], WORDS[3])]
    rows = []
    for _ in range(150):
        environment, version = chance.choice(pairs)
        rows.append(some_rollup(chance) | {"environment": environment, "version": version, "most": 9})
    customer = add_customer(engine, slug)
    cut = pieces(chance, rows)
    for start in range(0, len(cut), a_transaction):
        with begin(engine) as conn:
            for piece in cut[start : start + a_transaction]:
                write_split_rollups(conn, of_customer(customer.id, split_rollups_table(piece)))
    for environment, version in pairs:
        mine = [one for one in rows if (one["environment"], one["version"]) == (environment, version)]
        assert stored(engine, customer)[environment, version] == merged_rollups(mine)


def test_what_is_beyond_the_bound_of_a_minute_is_counted_as_other(engine: Engine, slug: str) -> None:
    customer, neighbour = (add_customer(engine, f"{slug}-{letter}") for letter in "ab")
    write(engine, neighbour, *(a_split(version, 1, most=9) for version in "xyz"))
    write(engine, customer, a_split("3", 1))
    write(engine, customer, a_split("1", 1), a_split("2", 5), a_split("3", 1), a_split("4", 5))
    others = a_split("other", 1, environment="other")
    write(engine, customer, others, a_split("5", 1), a_split("5", 1, minute=START_US + 60_000_000))
    counts = {
        pair: sorted(int(str(values[0])) for values in rows.values())
        for pair, rows in stored(engine, customer).items()
    }
    assert counts == {("", "3"): [2], ("", "2"): [5], ("", "5"): [1], ("other", "other"): [8]}
    assert len(stored(engine, neighbour)) == 3


def test_they_are_forgotten_with_the_other_results(engine: Engine, slug: str) -> None:
    customer, now = add_customer(engine, slug), now_us(engine)
    with begin(engine) as conn:
        customers.set_retention(conn, customer.id, 30)
    minutes = [(now - days * DAY_US) // 60_000_000 * 60_000_000 for days in (0, 40, 200)]
    rows = [a_split("1", 2, minute=at) for at in minutes]
    prepare(engine, [], [], split_rollups=[split_rollups_table(rows)])
    write(engine, customer, *rows)
    prune(engine, DatabaseSettings(), now, most_rows=1)
    assert len(stored(engine, customer)["", "1"]) == 1
    with read(engine) as conn:
        assert conn.execute(select(tables.folded.c.pruned_split_rollups)).scalar_one() == 4

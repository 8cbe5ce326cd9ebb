"""What is looked up by key costs by the keys that are asked for, not by what the customer has."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, Engine, text

from db import bulk
from db.engine import begin
from db.ledger import dispatch
from db.results import of_customer, write_exceptions, write_rollups, write_split_rollups
from tests.integration.ledger_rows import add_customer, claim, new_batch, record
from tests.integration.result_tables import exceptions_table, rollups_table, some_rollup, split_rollups_table
from tests.integration.test_exceptions_stored import counted
from tests.integration.test_split_rollups import a_split

THERE, ASKED = 2_000, 20
_READ = text(
    "SELECT coalesce(sum(seq_tup_read + idx_tup_fetch), 0) FROM pg_stat_xact_user_tables"
    " WHERE starts_with(relname, :table)"
)


@pytest.fixture(autouse=True)
def without_statistics(engine: Engine) -> None:
    """As long as PostgreSQL knows nothing of a table, it believes that a customer has few rows."""
    if engine.dialect.name != "postgresql":
        pytest.skip("SQLite does not count the rows that it reads")


@contextmanager
def rows_read(conn: Connection, table: str, *, most: int) -> Iterator[None]:
    before = conn.execute(_READ, {"table": table}).scalar_one()
    yield
    assert conn.execute(_READ, {"table": table}).scalar_one() - before <= most


def test_rollups_that_are_merged_are_read_by_key(engine: Engine, slug: str) -> None:
    customer, chance = add_customer(engine, slug), random.Random(0)
    rows = [some_rollup(chance) | {"operation": str(each)} for each in range(THERE)]
    with begin(engine) as conn:
        write_rollups(conn, of_customer(customer.id, rollups_table(rows)))
    with begin(engine) as conn, rows_read(conn, "rollups", most=4 * ASKED):
        write_rollups(conn, of_customer(customer.id, rollups_table(rows[:ASKED])))


def test_batch_ids_are_looked_up_by_key(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    batches = [new_batch(offset) for offset in range(THERE)]
    record(engine, customer, claim(engine, customer), 0, THERE - 1, batches=batches)
    asked = [batch.batch_id for batch in batches[:ASKED]]
    with begin(engine) as conn:
        assert bulk.is_postgresql(conn)
        with rows_read(conn, "batches", most=2 * ASKED):
            assert len(dispatch.known(conn, {customer.id: asked})[customer.id]) == ASKED


def test_the_bound_of_exceptions_is_kept_without_reading_their_minute(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    there = [counted(f"{each:05}", most=THERE) for each in range(THERE)]
    with begin(engine) as conn:
        write_exceptions(conn, of_customer(customer.id, exceptions_table(there)))
    asked = [*there[-ASKED:], *(counted(f"new {each}") for each in range(ASKED))]
    with begin(engine) as conn, rows_read(conn, "exceptions", most=4 * ASKED + 2 * asked[-1]["most"]):
        write_exceptions(
            conn, of_customer(customer.id, exceptions_table([one | {"most": 100} for one in asked]))
        )


def test_the_bound_of_split_rollups_is_kept_without_reading_their_minute(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    there = [a_split(str(each % 10), 1, operation=str(each), most=50) for each in range(THERE)]
    with begin(engine) as conn:
        write_split_rollups(conn, of_customer(customer.id, split_rollups_table(there)))
    asked = [*there[:ASKED], *(a_split(f"new {each}", 1, most=50) for each in range(ASKED))]
    with begin(engine) as conn, rows_read(conn, "split_rollups", most=6 * ASKED):
        write_split_rollups(conn, of_customer(customer.id, split_rollups_table(asked)))

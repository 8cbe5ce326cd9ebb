"""Log records in the database: what is written comes back, counts add up, and old rows are forgotten."""

import json
import random
from collections.abc import Sequence
from typing import Any

import pytest
from sqlalchemy import Engine, select

from db import tables
from db.accounting import books
from db.clock import now_us
from db.customers import rows as customers
from db.customers.rows import Customer
from db.engine import begin, connect, read
from db.results import of_customer, prepare, write_log_rollups, write_logs, writing
from db.retention import partitions
from db.retention.folding import fold
from db.retention.pruning import prune
from db.settings import DatabaseSettings
from tests.integration.ledger_rows import add_customer, claim, deposit, deposited, new_window, record
from tests.integration.result_tables import (
    WORDS,
    Row,
    a_log,
    events_table,
    interactions_table,
    log_rollups_table,
    logs_table,
    rollups_table,
)

DAY_US = 86_400_000_000
MINUTE_US = 60_000_000
SETTINGS = DatabaseSettings()


def a_count(at_us: int, **changes: Any) -> Row:
    return {
        "minute": at_us // MINUTE_US * MINUTE_US,
        "service": "a",
        "severity": "warn",
        "count": 2,
    } | changes


def write_log_rows(engine: Engine, customer: Customer, times_us: Sequence[int]) -> None:
    """A log record, and two in a rollup of them, at each time."""
    logs = logs_table([a_log(at=at_us, window_id=1, position=i) for i, at_us in enumerate(times_us)])
    log_rollups = log_rollups_table([a_count(at_us) for at_us in times_us])
    prepare(engine, [], [], logs=[logs], log_rollups=[log_rollups])
    with begin(engine) as conn:
        write_logs(conn, of_customer(customer.id, logs))
        write_log_rollups(conn, of_customer(customer.id, log_rollups))


def counted(engine: Engine, customer: Customer) -> dict[tuple[str, str], int]:
    of = tables.log_rollups.c
    query = select(of.service, of.severity, of.minute, of["count"]).where(of.customer_id == customer.id)
    found: dict[tuple[str, str], int] = {}
    with read(engine) as conn:
        for service, severity, _, count in conn.execute(query):
            found[service, severity] = found.get((service, severity), 0) + count
    return found


def test_counts_add_up_in_whatever_pieces_they_come(engine: Engine, slug: str) -> None:
    chance, customer = random.Random(3), add_customer(engine, slug)
    now = now_us(engine)
    given = [
        a_count(
            now - chance.randrange(3) * MINUTE_US, service=chance.choice(WORDS), count=chance.randrange(9)
        )
        for _ in range(60)
    ]
    for piece in (given[:1], given[1:40], given[40:], []):
        with begin(engine) as conn:
            write_log_rollups(conn, of_customer(customer.id, log_rollups_table(piece)))
    expected: dict[tuple[str, str], int] = {}
    for row in given:
        key = row["service"], row["severity"]
        expected[key] = expected.get(key, 0) + row["count"]
    assert counted(engine, customer) == expected


@pytest.mark.parametrize("rows", [3, 2_500])
def test_records_come_back_as_they_were(engine: Engine, slug: str, rows: int) -> None:
    customer, at_us = add_customer(engine, slug), now_us(engine)
    odd = {"kvlistValue": {"values": [{"key": word, "value": {"stringValue": word}} for word in WORDS]}}
    full = {
        "time_ns": at_us * 1_000 + 7,
        "observed_ns": 2**63 - 1,
        "severity_text": "WARN",
        "event_name": "e",
        "body": json.dumps(odd),
        "attributes": '[{"key":"k","value":{"doubleValue":"-0.0"}},{"key":"k","value":{}}]',
        "scope": '{"name":"n"}',
        "trace_id": bytes(range(16)),
        "span_id": bytes(range(8)),
    }
    bare = {"body": None}
    given = [a_log(at=at_us, window_id=1, position=i, **(full if i % 2 else bare)) for i in range(rows)]
    logs = of_customer(customer.id, logs_table(given))
    empty = {"interactions": interactions_table([]), "rollups": rollups_table([]), "events": events_table([])}
    with begin(engine) as conn, writing(conn, **{k: of_customer(0, t) for k, t in empty.items()}, logs=logs):
        pass
    of = tables.logs.c
    with read(engine) as conn:
        found = conn.execute(select(*of).where(of.customer_id == customer.id).order_by(of.position)).all()
    assert len(found) == rows
    first, second = found[0], found[1]
    assert (first.body, first.scope, first.trace_id, first.time_ns) == (None, None, None, None)
    assert (second.body, second.attributes) == (odd, json.loads(str(full["attributes"])))
    assert (second.time_ns, second.observed_ns) == (full["time_ns"], full["observed_ns"])
    assert (second.trace_id, second.span_id, second.scope) == (
        full["trace_id"],
        full["span_id"],
        {"name": "n"},
    )
    with read(engine) as conn:
        missing = conn.execute(select(of.position).where(of.body.is_(None))).scalars().all()
    assert set(missing) == set(range(0, rows, 2)), "SQL's null, not JSON's"


def test_old_records_are_forgotten_and_the_books_know_of_it(engine: Engine, slug: str) -> None:
    customer, now = add_customer(engine, slug), now_us(engine)
    write_log_rows(engine, customer, [now, now - 20 * DAY_US, now - 21 * DAY_US])
    with begin(engine) as conn:
        customers.set_retention(conn, customer.id, 10)
        before = books.results(conn, customer.id)
    prune(engine, SETTINGS, now)
    of = tables.folded.c
    with read(engine) as conn:
        assert books.results(conn, customer.id) == before
        pruned = conn.execute(select(of.pruned_logs, of.pruned_log_rollups)).one()
        left = [
            conn.execute(select(table.c.customer_id)).all() for table in (tables.logs, tables.log_rollups)
        ]
    assert (before.log_rollups, tuple(pruned), [len(rows) for rows in left]) == (6, (2, 4), [1, 1])


def test_old_partitions_of_logs_are_dropped_and_counted(postgresql_url: str, slug: str) -> None:
    engine = connect(DatabaseSettings(url=postgresql_url), pooled=False)
    customer, now = add_customer(engine, slug), now_us(engine)
    write_log_rows(engine, customer, [now, now - 100 * DAY_US])
    with begin(engine) as conn:
        customers.set_retention(conn, customer.id, 30)
    assert prune(engine, SETTINGS, now).partitions == 2
    of = tables.folded.c
    with read(engine) as conn:
        assert {one.table for one in partitions.made(conn)} == set(partitions.TIMES)
        pruned = conn.execute(select(of.pruned_logs, of.pruned_log_rollups)).one()
    assert tuple(pruned) == (1, 2)


def test_folding_keeps_the_number_of_log_records(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    window_id = record(engine, customer, epoch, 0, 0, window=new_window(0, 0))
    deposit(engine, customer, 0, [deposited(window_id, kept=5, kept_logs=3)])
    for _ in range(2):
        with read(engine) as conn:
            found = books.ledger(conn, customer.id)
            assert (found.kept, found.kept_logs, found.differences()) == (5, 3, [])
        with begin(engine) as conn:
            fold(conn, customer.id)

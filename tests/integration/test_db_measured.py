"""The statements behind the metrics of all customers, on both databases."""

import pytest
from sqlalchemy import Engine, text

from db.accounting import measured
from db.accounting.measured import NO_WINDOWS, OpenWindows, Throughput, bounded
from db.engine import begin
from db.errors import DatabaseUnavailable
from db.ledger.workers import beat
from db.quarantine import rows as quarantine
from db.quarantine.budget import everyones
from tests.integration.ledger_rows import (
    NOW_US,
    add_customer,
    claim,
    deposit,
    deposited,
    new_quarantine,
    record,
)


def test_what_is_open_and_what_was_deposited_is_told_apart(engine: Engine, slug: str) -> None:
    mine, other = add_customer(engine, slug), add_customer(engine, f"{slug}-2")
    epoch = claim(engine, mine)
    first, _second = record(engine, mine, epoch, 0, 1), record(engine, mine, epoch, 2, 4)
    deposit(engine, mine, 0, [deposited(first)], NOW_US + 2_000_000)
    with bounded(engine, 30.0) as connection:
        found = measured.open_windows(connection)
        done = measured.deposited(connection, NOW_US, NOW_US + 2_000_000)
        assert measured.deposited(connection, NOW_US + 2_000_000, NOW_US + 9_000_000) == {}
        assert measured.cursors(connection) == {mine.id: 5, other.id: 0}
    assert found.get(other.id, NO_WINDOWS) == NO_WINDOWS
    assert found == {mine.id: OpenWindows(windows=1, batches=3, bytes=3000, oldest_accepted_at=NOW_US - 1000)}
    assert done == {mine.id: Throughput(batches=2, bytes=2000, in_flight_s=2.0)}


def test_kept_rows_of_quarantine_are_counted(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    with begin(engine) as connection:
        rows = [new_quarantine(offset) for offset in range(4)]
        quarantine.add(connection, customer.id, rows, daily_bytes=5)
        connection.execute(text("UPDATE quarantine SET state = 'replayed' WHERE stream_offset = 0"))
    with bounded(engine, 30.0) as connection:
        assert measured.quarantine_kept(connection, customer.id) == 3
        [day] = everyones(connection, day=NOW_US // 86_400_000_000).values()
    assert (day.bytes, day.withheld) == (4, 2)


def test_beats_and_storage_are_seen(engine: Engine) -> None:
    with begin(engine) as connection:
        beat(connection, "worker@here", 7, queues=["customer-a"], dedicated=True, processes=2)
    with bounded(engine, 30.0) as connection:
        [one] = measured.beats(connection)
        storage = measured.storage(connection, NOW_US)
    assert (one.name, one.beat, one.queues, one.processes) == ("worker@here", 7, ("customer-a",), 2)
    assert (storage.bytes or 0) > 0
    assert set(storage.partitions) <= {"events", "rollups"}


def test_a_statement_that_takes_too_long_is_ended(engine: Engine) -> None:
    endless = (
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000000000)"
        " SELECT count(*) FROM n"
    )
    with pytest.raises(DatabaseUnavailable), bounded(engine, 0.5) as connection:
        connection.execute(text(endless))
    with bounded(engine, 30.0) as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1

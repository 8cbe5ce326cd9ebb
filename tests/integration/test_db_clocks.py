"""Whose clock decides: which workers live, and which batch ids are remembered, whatever a host's shows."""

import pytest
from sqlalchemy import Engine

from db.engine import begin, read
from db.ledger import dispatch, workers
from db.ledger.workers import SHARED, SILENT_S, Attendance
from db.retention.pruning import prune
from db.settings import DatabaseSettings
from tests.integration.ledger_rows import NOW_US, add_customer, claim, new_batch, new_window, record

HOUR_US = 3_600_000_000
DAY_US = 24 * HOUR_US


@pytest.mark.parametrize("skew_us", [-HOUR_US, 0, HOUR_US])
def test_a_worker_counts_while_its_beat_changes_whatever_its_clock_shows(
    engine: Engine, skew_us: int
) -> None:
    attendance = Attendance()
    with begin(engine) as connection:
        for second in range(0, 60, 4):
            # A clock that stands still does not stop the beat.
            workers.beat(connection, "slow@host", NOW_US + skew_us, processes=2)
            assert attendance.processes(connection, float(second)) == {SHARED: 2}
        silent_from = float(second)
        assert attendance.processes(connection, silent_from + SILENT_S - 1) == {SHARED: 2}
        assert attendance.processes(connection, silent_from + SILENT_S) == {SHARED: 0}
        workers.beat(connection, "slow@host", NOW_US + skew_us - HOUR_US, processes=2)
        assert attendance.processes(connection, silent_from + SILENT_S + 1) == {SHARED: 2}


def test_only_workers_that_live_count_and_dedicated_ones_for_their_queues_alone(engine: Engine) -> None:
    attendance = Attendance()
    with begin(engine) as conn:
        workers.beat(conn, "shared", 100, queues=["customer-a", "customer-b"], processes=2)
        workers.beat(conn, "shared too", 100, queues=["customer-b"], processes=3)
        workers.beat(conn, workers.DISPATCHER + "x", 100)
        workers.beat(conn, "silent", 100, queues=["customer-c"], dedicated=True, processes=4)
        workers.beat(conn, "own", 100, queues=["customer-d"], dedicated=True, processes=4)
        workers.beat(conn, "left", 100, queues=["customer-f"], dedicated=True, processes=1)
        attendance.processes(conn, 0.0)
        workers.beat(conn, "own", 100, queues=["customer-a", "customer-e"], dedicated=True, processes=8)
        workers.beat(conn, "own too", 100, queues=["customer-a"], dedicated=True, processes=1)
        for name, count in (("shared", 2), ("shared too", 3)):
            workers.beat(conn, name, 100, processes=count)
        workers.leave(conn, "left")
        found = attendance.processes(conn, SILENT_S)
    assert found == {SHARED: 5, "customer-a": 9, "customer-e": 8}


def test_an_id_is_remembered_though_its_receivers_clock_is_days_slow(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    at_us = NOW_US
    for offset, slow_us in enumerate((8 * DAY_US, 0)):
        window = new_window(offset, offset, created_at=at_us)
        slow = [new_batch(offset, accepted_at=at_us - slow_us)]
        record(engine, customer, epoch, offset, offset, window=window, batches=slow)
    ids = [new_batch(0).batch_id, new_batch(1).batch_id]

    def remembered(days: float) -> set[str]:
        prune(engine, DatabaseSettings(), at_us + int(days * DAY_US))
        with read(engine) as conn:
            return set(dispatch.known(conn, {customer.id: ids})[customer.id])

    assert remembered(6.9) == set(ids)
    window = new_window(2, 2, created_at=at_us + 8 * DAY_US)
    late = [new_batch(2, accepted_at=at_us + 8 * DAY_US)]
    record(engine, customer, epoch, 2, 2, window=window, batches=late)
    assert remembered(8.1) == set()

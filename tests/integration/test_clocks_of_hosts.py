"""One host's clock is days wrong: what is booked, and decided by age, is as if it were right."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import structlog
import structlog.testing
from sqlalchemy import Engine, func, select

from db import clock, tables
from db.customers import quota_use, rows as customers
from db.customers.rows import Customer
from db.engine import begin, connect, read
from db.ledger import deposits, windows
from db.settings import DatabaseSettings
from deploy.local.rabbitmq import RabbitNode
from streams import Broker, StreamSettings
from tasks.celery import app as celery
from tasks.dispatcher.housekeeping import Housekeeper
from tasks.errors import Tripped
from tasks.events import EVENTS
from tasks.handover import Header, UnfitRow
from tasks.processors import schemas
from tasks.settings import TaskSettings
from tasks.stages.context import Context
from tasks.stages.deposit_transaction import CursorMove, book
from tasks.stages.processed_results import OwedResult
from tests import receiver as receivers
from tests.integration.ledger_rows import (
    add_customer,
    claim,
    deposit,
    deposited,
    new_quarantine,
    new_window,
    record,
)
from tests.whole import until
from webapp.app import build
from webapp.limits.admission import Limits
from webapp.limits.customer_meter import CustomerMeter
from webapp.limits.day_sync import DaySync
from webapp.limits.meters import Meters
from webapp.metrics import CustomerCounts
from webapp.problems import Problem

HOUR_S = 3600
DAY_S = 24 * HOUR_S
DAY_US = DAY_S * 1_000_000
Skewed = Callable[[int], None]


@pytest.fixture
def skewed(monkeypatch: pytest.MonkeyPatch) -> Skewed:
    """Sets this host's clock so many seconds off the database's."""
    plain, plain_ns = time.time, time.time_ns

    def to(seconds: int) -> None:
        monkeypatch.setattr(time, "time", lambda: plain() + seconds)
        monkeypatch.setattr(time, "time_ns", lambda: plain_ns() + seconds * 1_000_000_000)

    return to


@contextmanager
def another_host() -> Iterator[Engine]:
    """What a process that has just started knows of the database."""
    engine = connect(DatabaseSettings())
    yield engine
    engine.dispose()


@pytest.mark.parametrize("seconds", [-8 * DAY_S, 8 * DAY_S])
def test_a_batch_is_accepted_at_the_same_time_whatever_its_receivers_clock_shows(
    database_url: str,
    rabbitmq: RabbitNode,
    slug: str,
    skewed: Skewed,
    monkeypatch: pytest.MonkeyPatch,
    seconds: int,
) -> None:
    with receivers.home(database_url, rabbitmq) as home:
        key = home.add(slug)
        for name, value in home.environment.items():
            monkeypatch.setenv(name, value)
        right_us = time.time_ns() // 1000
        skewed(seconds)
        app = build()
        try:
            headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
            answer = app.test_client().post("/v1/batches", data=b"{}\n", headers=headers)
            assert answer.status_code == 202
        finally:
            app.extensions["sluice"].close()
        (envelope,) = home.envelopes(slug)
    assert abs(envelope.accepted_at_us - right_us) < DAY_US // 24


@pytest.mark.parametrize("seconds", [(-2 * HOUR_S, 0), (0, 2 * HOUR_S)])
def test_the_breakers_minute_is_the_same_for_workers_on_all_hosts(
    engine: Engine, slug: str, skewed: Skewed, seconds: tuple[int, int]
) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    first, second = record(engine, customer, epoch, 0, 19), record(engine, customer, epoch, 20, 29)
    with another_host() as here, another_host() as there:
        skewed(seconds[0])
        failed_at(here, customer, first, before=0, batches=20, failed=15)
        skewed(seconds[1])
        with pytest.raises(Tripped):
            failed_at(there, customer, second, before=1, batches=10, failed=10)


def failed_at(
    engine: Engine, customer: Customer, window_id: int, *, before: int, batches: int, failed: int
) -> None:
    """Deposit the window, of whose batches so many are malformed. Raises Tripped."""
    with read(engine) as conn:
        window = windows.get(conn, window_id)
        state = deposits.state(conn, customer.id, window_id)
    assert window is not None
    header = Header(
        window_id=window_id,
        customer_id=customer.id,
        customer=customer.slug,
        token=window.token,
        batches=batches,
        pipeline="",
        decoded=0,
        unfit=[UnfitRow(offset=0, reason="malformed", detail="")] * failed,
    )
    results = {
        "interactions": schemas.INTERACTIONS.empty_table(),
        "rollups": schemas.ROLLUPS.empty_table(),
        "events": EVENTS.empty_table(),
    }
    ready = OwedResult(header=header, first_offset=window.first_offset, tables=results, quarantined=[])
    move = CursorMove(customer_id=customer.id, state=state, before=before, after=before + 1)
    broker = Broker(StreamSettings())
    book(Context(engine=engine, broker=broker, settings=TaskSettings(), app=celery), move, [ready])


def test_a_pruner_whose_clock_is_a_month_fast_forgets_nothing_early(
    engine: Engine, slug: str, skewed: Skewed
) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    now_us = time.time_ns() // 1000
    kept = [new_quarantine(0, created_at=now_us)]
    ids = []
    for offset in range(3):
        window = new_window(offset, offset, created_at=now_us)
        ids.append(record(engine, customer, epoch, offset, offset, window=window, reused=kept))
    deposit(engine, customer, 0, [deposited(one, kept=1) for one in ids], now_us)
    with begin(engine) as conn:
        conn.execute(tables.quarantine.update().values(window_id=ids[0]))
    failed: list[str] = []
    with another_host() as theirs:
        skewed(400 * DAY_S)
        housekeeper = Housekeeper(theirs, DatabaseSettings(), every_s=0.01, failed=lambda: failed.append("x"))
        housekeeper.start()

        def folded() -> bool:
            with read(engine) as conn:
                return bool(conn.execute(select(tables.folded.c.upto_window_id)).scalar_one() >= ids[-1])

        until(folded, "a round of pruning")
        housekeeper.stop()
    with read(engine) as conn:
        left = [
            conn.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (tables.windows, tables.quarantine, tables.batches)
        ]
    assert (left, failed) == ([3, 3, 3], [])


def test_a_quota_is_of_one_day_for_receivers_on_all_hosts(engine: Engine, slug: str, skewed: Skewed) -> None:
    customer = add_customer(engine, slug)
    yesterday = time.time_ns() // 1000 // DAY_US - 1
    with begin(engine) as conn:
        customers.set_limits(conn, customer.id, {"daily_bytes": 100})
        quota_use.write(conn, "probe", yesterday, {customer.id: 7})
        limited = customers.get(conn, slug)
    assert limited is not None
    with another_host() as theirs:
        skewed(40 * DAY_S)
        first = limits_of(theirs, limited)
        admission = first.admit(limited, 60, 1000)
        assert admission is not None
        first.end(admission, 60)
        first.close()
    skewed(0)
    second = limits_of(engine, limited)
    with pytest.raises(Problem) as refused:
        second.admit(limited, 60, 1000)
    second.close()
    assert refused.value.members["limit"] == "daily_bytes"
    with read(engine) as conn:
        assert quota_use.total(conn, customer.id, yesterday) == 7


def test_a_host_whose_clock_differs_is_told_once_until_it_is_right_again(
    engine: Engine, skewed: Skewed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock, "EVERY_S", 0.0)
    monkeypatch.setattr(clock, "log", structlog.get_logger())  # one that no earlier test has bound
    with structlog.testing.capture_logs() as logged:
        for seconds in (0, 90, 90, 0, -HOUR_S):
            skewed(seconds)
            with read(engine):
                pass
    assert [(line["event"], line["ahead_of_database_s"]) for line in logged] == [
        ("clock_differs", 90),
        ("clock_differs", -HOUR_S),
    ]


def limits_of(engine: Engine, customer: Customer) -> Limits:
    """As a receiver has them that has just looked the customer up."""
    meters = Meters(CustomerMeter, lanes=1)
    usage = DaySync(engine, meters, quota_use.written, quota_use.write)
    found = Limits(meters, usage, CustomerCounts(10), receivers=1, later_s=(1, 5))
    with read(engine) as conn:
        found.learn(conn, [customer])
    return found

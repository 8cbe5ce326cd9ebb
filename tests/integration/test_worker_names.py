"""Two workers of one name: the later one says so and stops; one that takes a dead one's place does not."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from sqlalchemy import Engine, select, update

from db.engine import begin, connect
from db.errors import LostName
from db.ledger import workers
from db.ledger.workers import OBSERVED_S, WorkerName
from db.settings import DatabaseSettings
from db.tables import workers as table
from deploy.local.rabbitmq import RabbitNode
from tests.integration.test_health import children_of
from tests.receiver import bare_environment
from tests.whole import ROOT, Whole, until

NAME = "twin@here"
NOW_US = 1_700_000_000_000_000


def beaten(engine: Engine, name: WorkerName, now_us: int, now_s: float) -> bool:
    with begin(engine) as conn:
        return name.beat(conn, now_us, now_s, queues=["customer-a"], dedicated=True, processes=2)


def rows(engine: Engine) -> dict[str, int]:
    with begin(engine) as conn:
        return {row.name: row.seen_at for row in conn.execute(select(table))}


def test_a_name_belongs_to_the_first_worker_that_beats_under_it(engine: Engine) -> None:
    first, later = WorkerName(name=NAME), WorkerName(name=NAME)
    assert beaten(engine, first, NOW_US, 0.0)
    assert not beaten(engine, later, NOW_US + 10, 0.0), "it watches first"
    assert rows(engine) == {NAME: NOW_US}
    assert beaten(engine, first, NOW_US - 99, 4.0), "whatever was set on its host's clock"
    assert rows(engine) == {NAME: NOW_US + 1}
    with pytest.raises(LostName):
        beaten(engine, later, NOW_US + 10, 4.0)
    with begin(engine) as conn:
        later.leave(conn)
    assert rows(engine) == {NAME: NOW_US + 1}, "what another worker wrote stays"
    with begin(engine) as conn:
        first.leave(conn)
    assert rows(engine) == {}


def test_a_dead_workers_row_is_taken_over_once(engine: Engine) -> None:
    with begin(engine) as conn:
        workers.beat(conn, NAME, NOW_US, queues=["customer-a"], dedicated=True, processes=2)
    first, second = WorkerName(name=NAME), WorkerName(name=NAME)
    assert not beaten(engine, first, NOW_US + 10, 100.0)
    assert not beaten(engine, second, NOW_US + 10, 100.0)
    assert not beaten(engine, first, NOW_US + 20, 100.0 + OBSERVED_S - 1)
    assert beaten(engine, first, NOW_US + 30, 100.0 + OBSERVED_S)
    with pytest.raises(LostName):
        beaten(engine, second, NOW_US + 30, 100.0 + OBSERVED_S)
    with begin(engine) as conn:
        row = conn.execute(select(table)).one()
    assert (row.queues, bool(row.dedicated), row.processes) == (["customer-a"], True, 2)


def test_a_row_of_a_restored_database_is_watched_and_taken_back(engine: Engine) -> None:
    name = WorkerName(name=NAME)
    assert beaten(engine, name, NOW_US, 0.0)
    with begin(engine) as conn:
        conn.execute(update(table).values(seen_at=NOW_US - 99))
    assert not beaten(engine, name, NOW_US + 10, 4.0)
    assert not beaten(engine, name, NOW_US + 10, 8.0)
    assert beaten(engine, name, NOW_US + 20, 4.0 + OBSERVED_S)
    assert rows(engine) == {NAME: NOW_US + 20}


def test_an_outage_of_the_database_gives_no_name_away(engine: Engine) -> None:
    first, later = WorkerName(name=NAME), WorkerName(name=NAME)
    assert beaten(engine, first, NOW_US, 0.0)
    assert not beaten(engine, later, NOW_US + 10, 1.0)
    assert not beaten(engine, later, NOW_US + 90, 90.0), "neither could write or look in between"
    assert beaten(engine, first, NOW_US + 91, 91.0)
    with pytest.raises(LostName):
        beaten(engine, later, NOW_US + 94, 94.0)


def test_a_commit_whose_outcome_is_unknown_costs_no_name(engine: Engine) -> None:
    name = WorkerName(name=NAME)
    assert beaten(engine, name, NOW_US, 0.0)
    for now_us in (NOW_US + 10, NOW_US + 20):
        with begin(engine) as conn:
            name.beat(conn, now_us, 0.0, queues=[], dedicated=True, processes=2)
            conn.rollback()
        assert rows(engine) == {NAME: NOW_US}
    assert beaten(engine, name, NOW_US + 30, 0.0)
    assert rows(engine) == {NAME: NOW_US + 30}
    with begin(engine) as conn:
        workers.leave(conn, NAME)
    assert beaten(engine, name, NOW_US + 40, 0.0), "a row that was removed is made again"


@pytest.mark.timeout(600)
def test_a_second_worker_of_a_name_stops(
    tmp_path: Path, rabbitmq: RabbitNode, sqlite_url: str, slug: str
) -> None:
    environment = bare_environment()
    urls = {"DATABASE_URL": sqlite_url, "BROKER_URL": rabbitmq.amqp_url, "STREAM_URL": rabbitmq.stream_url}
    whole = Whole(folder=tmp_path, environment=environment | urls)
    name = f"{slug}@%h"
    words = ("-n", name, "-Q", f"customer-{slug}")
    engine = connect(DatabaseSettings(url=sqlite_url))

    def well() -> bool:
        command = [sys.executable, "-m", "tasks.health", "worker", "-n", name]
        asked = subprocess.run(command, cwd=ROOT, env=whole.environment, capture_output=True, timeout=120)
        return asked.returncode == 0

    try:
        whole.start("first", *words, role="worker")
        until(well, "the worker to consume")
        assert whole.start("second", *words, role="worker").wait(120) == 6
        assert "worker_name_taken" in whole.log("second")
        assert "Traceback" not in whole.log("second")
        assert well(), "the one that was there goes on"

        # One that finishes its tasks has let its name go.
        first = whole.processes["first"]
        for child in children_of(first.pid):
            os.kill(child, signal.SIGSTOP)
        until(lambda: rows(engine), "the worker to have a row")
        first.send_signal(signal.SIGTERM)
        until(lambda: not rows(engine), "it to notice")
        whole.start("next", *words, role="worker")
        until(well, "the next worker to consume")
        assert first.poll() is None
        whole.kill("first")

        # One that was killed has, too, and its row does not hold the next one up.
        whole.kill("next")
        whole.start("again", *words, role="worker")
        until(well, "the worker to consume again")
        assert whole.processes["again"].poll() is None
    finally:
        whole.stop()
        engine.dispose()


@pytest.mark.timeout(600)
def test_a_worker_stops_whose_name_beats_on_another_host(
    tmp_path: Path, rabbitmq: RabbitNode, sqlite_url: str, slug: str
) -> None:
    environment = bare_environment()
    urls = {"DATABASE_URL": sqlite_url, "BROKER_URL": rabbitmq.amqp_url, "STREAM_URL": rabbitmq.stream_url}
    whole = Whole(folder=tmp_path, environment=environment | urls)
    name = f"{slug}@elsewhere"
    engine = connect(DatabaseSettings(url=sqlite_url))
    try:
        process = whole.start("worker", "-n", name, "-Q", f"customer-{slug}")
        end = time.monotonic() + 120
        beats = 0
        while process.poll() is None and time.monotonic() < end:
            with begin(engine) as conn:
                workers.beat(conn, name, NOW_US, queues=["elsewhere"], dedicated=True, processes=1)
            beats += 1
            time.sleep(0.2)
        assert process.wait(1) == 6
        assert "worker_name_taken" in whole.log("worker")
        assert rows(engine) == {name: NOW_US + beats - 1}, "nothing was overwritten, and nothing removed"
    finally:
        whole.stop()
        engine.dispose()

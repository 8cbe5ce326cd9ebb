"""`flask watch` against a real broker and both databases."""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, insert

import db.customers.rows
from db.clock import today
from db.customers.rows import Customer
from db.engine import begin
from db.tables import quarantine_days
from deploy.local import ports
from deploy.local.rabbitmq import RabbitNode
from streams import Broker, StreamSettings, raw
from tests.envelopes import envelope
from tests.integration.ledger_rows import add_customer
from webapp.commands.watch import SHOWN

ROOT = Path(__file__).resolve().parents[2]
DEADLINE_S = 60.0


@pytest.fixture
def environment(rabbitmq: RabbitNode, database_url: str) -> dict[str, str]:
    urls = {"DATABASE_URL": database_url, "BROKER_URL": rabbitmq.amqp_url, "STREAM_URL": rabbitmq.stream_url}
    return os.environ | urls | {"PYTHONUNBUFFERED": "1"}


def flask(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "flask", "--app", "webapp", *arguments]


@contextmanager
def watching(environment: dict[str, str]) -> Iterator[Iterator[dict[str, Any]]]:
    """What `flask watch --json` says, line after line."""
    process = subprocess.Popen(
        flask("watch", "--json", "--every", "0.3"), cwd=ROOT, env=environment, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        yield (json.loads(line) for line in process.stdout if line.startswith(b"{"))
    finally:
        process.kill()
        process.communicate()


@contextmanager
def printing(environment: dict[str, str]) -> Iterator[Iterator[list[str]]]:
    """The lines that `flask watch` prints, look after look."""
    process = subprocess.Popen(
        flask("watch", "--every", "0.3"), cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        lines = (line.rstrip("\n") for line in process.stdout)
        yield iter(lambda: list(itertools.takewhile(bool, lines)), [])
    finally:
        process.kill()
        process.communicate()


def full_today(engine: Engine, customer: Customer) -> None:
    """Two rows' bytes were over today's budget of quarantine."""
    full = {"bytes": 1_000, "withheld": 2, "withheld_bytes": 602}
    with begin(engine) as conn:
        conn.execute(insert(quarantine_days).values(customer_id=customer.id, day=today(conn), **full))


def publish(rabbitmq: RabbitNode, slug: str, accepted_at_us: int) -> None:
    broker = Broker(StreamSettings(url=rabbitmq.stream_url, broker_url=rabbitmq.amqp_url))
    try:
        broker.publish(
            raw(slug), envelope(slug, "one", b"{}", accepted_at_us=accepted_at_us), deadline_s=DEADLINE_S
        )
    finally:
        broker.close()


def test_a_batch_that_waits_for_dispatch_is_lag_and_has_an_age(
    environment: dict[str, str], rabbitmq: RabbitNode, slug: str, tmp_path: Path
) -> None:
    add = flask("customers", "add", slug, "--key-file", str(tmp_path / "key"))
    subprocess.run(add, cwd=ROOT, env=environment, check=True, timeout=DEADLINE_S)
    with watching(environment) as said:
        [row] = next(look["customers"] for look in said if look["problem"] is None)
        assert (row["slug"], row["state"], row["lag_batches"], row["lag_s"]) == (slug, "active", 0, 0)
        assert row["balanced"] is True
        assert row["p999_s"] is None
        publish(rabbitmq, slug, time.time_ns() // 1000 - 3_600_000_000)
        end = time.monotonic() + DEADLINE_S
        while not row["lag_batches"]:
            assert time.monotonic() < end
            [row] = next(said)["customers"] or [row]
        assert row["lag_batches"] == 1
        assert 3_600 <= row["lag_s"] < 3_700


def test_a_customer_whose_quarantine_is_full_for_today_is_named(
    environment: dict[str, str], engine: Engine, slug: str
) -> None:
    subprocess.run(flask("customers", "add", slug), cwd=ROOT, env=environment, check=True, timeout=DEADLINE_S)
    with begin(engine) as conn:
        customer = db.customers.rows.get(conn, slug)
        assert customer is not None
    full_today(engine, customer)
    with watching(environment) as said:
        assert next(look["withheld"] for look in said if look["problem"] is None) == {slug: 2}
    wanted = f"{slug}: today's quarantine is full, 2 rows are only in the raw stream"
    with printing(environment) as looks:
        assert any(wanted in look for look in looks)


def test_customers_whose_quarantine_is_full_are_named_up_to_a_bound_and_the_others_counted(
    environment: dict[str, str], engine: Engine, slug: str
) -> None:
    names = [f"{slug}-{number:02}" for number in range(SHOWN + 3)]
    for name in names:
        full_today(engine, add_customer(engine, name))
    with watching(environment) as said:
        assert next(look["withheld"] for look in said if look["problem"] is None) == dict.fromkeys(names, 2)
    with printing(environment) as looks:
        told = next(look for look in looks if any("quarantine is full" in line for line in look))
    named = [line.split(":")[0] for line in told if "today's quarantine is full" in line]
    assert (named, told[-1]) == (names[:SHOWN], "and 3 more whose quarantine is full")


def test_a_broker_that_is_away_is_said_and_the_watch_goes_on(environment: dict[str, str], slug: str) -> None:
    subprocess.run(flask("customers", "add", slug), cwd=ROOT, env=environment, check=True, timeout=DEADLINE_S)
    [closed] = ports.free(1)
    away = environment | {"STREAM_URL": f"rabbitmq-stream://guest:guest@127.0.0.1:{closed}/%2f"}
    with watching(away) as said:
        for _ in range(2):
            assert "the broker is away" in next(said)["problem"]

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
from db.clock import now_us, today
from db.customers.rows import Customer
from db.engine import begin
from db.tables import quarantine_days
from deploy.local import ports
from deploy.local.rabbitmq import RabbitNode
from streams import Broker, StreamSettings, raw
from tests.envelopes import envelope
from tests.integration.ledger_rows import add_customer, claim, new_window, record
from webapp.commands.watch import SHOWN, STREAMS_A_LOOK, Watch
from webapp.terminal import lag_rows

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


def full(look: dict[str, Any]) -> dict[str, int]:
    """Whose quarantine is full, and by how many rows."""
    return {one["customer"]: one["quarantine_withheld_today"] for one in look["quarantine_full"]}


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
        assert (row["customer"], row["state"], row["owed_batches"]) == (slug, "active", 0)
        assert row["balanced"] is True
        assert row["p999_seconds"] is None
        publish(rabbitmq, slug, time.time_ns() // 1000 - 3_600_000_000)
        end = time.monotonic() + DEADLINE_S
        while not row["owed_batches"]:
            assert time.monotonic() < end
            [row] = next(said)["customers"] or [row]
        assert row["owed_batches"] == 1
        assert 3_600 <= row["oldest_owed_seconds"] < 3_700


def test_a_customer_whose_quarantine_is_full_for_today_is_named(
    environment: dict[str, str], engine: Engine, slug: str
) -> None:
    subprocess.run(flask("customers", "add", slug), cwd=ROOT, env=environment, check=True, timeout=DEADLINE_S)
    with begin(engine) as conn:
        customer = db.customers.rows.get(conn, slug)
        assert customer is not None
    full_today(engine, customer)
    with watching(environment) as said:
        assert next(full(look) for look in said if look["problem"] is None) == {slug: 2}
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
        assert next(full(look) for look in said if look["problem"] is None) == dict.fromkeys(names, 2)
    with printing(environment) as looks:
        told = next(look for look in looks if any("quarantine is full" in line for line in look))
    named = [line.split(":")[0] for line in told if "today's quarantine is full" in line]
    assert (named, told[-1]) == (names[:SHOWN], "and 3 more whose quarantine is full")


@pytest.fixture
def watch(engine: Engine, rabbitmq: RabbitNode) -> Iterator[Watch]:
    broker = Broker(StreamSettings(url=rabbitmq.stream_url, broker_url=rabbitmq.amqp_url))
    yield Watch(engine=engine, broker=broker)
    broker.close()


def many(engine: Engine, slug: str) -> list[Customer]:
    """More than a look asks the streams of."""
    with begin(engine) as conn:
        return [db.customers.rows.add(conn, f"{slug}-{number:03}") for number in range(STREAMS_A_LOOK + 3)]


def test_the_customer_that_is_behind_comes_first_whatever_its_slug(
    engine: Engine, watch: Watch, slug: str
) -> None:
    customers = many(engine, slug)
    for customer, age in ((customers[-1], 3_600), (customers[-2], 60)):
        with begin(engine) as conn:
            at_us = now_us(conn) - age * 1_000_000
        window = new_window(0, 4, first_accepted_at=at_us)
        record(engine, customer, claim(engine, customer), 0, 4, window=window)
    seen = watch.look()
    assert [one.customer.slug for one in seen.customers[:2]] == [customers[-1].slug, customers[-2].slug]
    assert (len(seen.customers), seen.more) == (SHOWN, len(customers) - SHOWN)
    assert seen.customers[0].oldest_s is not None
    assert 3_600 <= seen.customers[0].oldest_s < 7_200
    watch.sort, watch.top = lag_rows.NAME, 2
    assert [one.customer.slug for one in watch.look().customers] == [one.slug for one in customers[:2]]


def test_what_waits_in_the_raw_stream_of_the_last_of_many_is_found_and_stays_first(
    engine: Engine, watch: Watch, rabbitmq: RabbitNode, slug: str
) -> None:
    last = many(engine, slug)[-1]
    watch.broker.declare(raw(last.slug), max_bytes=10**7, max_age_s=3_600, segment_bytes=10**6)
    publish(rabbitmq, last.slug, time.time_ns() // 1000 - 3_600_000_000)
    looks = [watch.look() for _ in range(4)]
    first = [look.customers[0] for look in looks]
    found = [one.customer.slug == last.slug for one in first]
    assert found[-2:] == [True, True], "every stream had its turn, and it is not forgotten"
    assert (first[-1].batches, looks[-1].more) == (1, STREAMS_A_LOOK + 3 - SHOWN)
    watch.broker.delete(raw(last.slug))


def test_a_broker_that_is_away_is_said_and_the_watch_goes_on(environment: dict[str, str], slug: str) -> None:
    subprocess.run(flask("customers", "add", slug), cwd=ROOT, env=environment, check=True, timeout=DEADLINE_S)
    [closed] = ports.free(1)
    away = environment | {"STREAM_URL": f"rabbitmq-stream://guest:guest@127.0.0.1:{closed}/%2f"}
    with watching(away) as said:
        for _ in range(2):
            assert "the broker is away" in next(said)["problem"]

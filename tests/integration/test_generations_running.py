"""Streams that are cut or replaced while somebody reads them."""

import re
import signal
from functools import partial
from itertools import product
from pathlib import Path

import pytest
from kombu import Connection, Queue
from sqlalchemy import Engine

from deploy.local.rabbitmq import RabbitNode
from streams import Broker, processed, raw
from tests.integration.test_generations import (
    DEADLINE_S,
    counted,
    cursor,
    dispatched,
    events,
    found,
    message,
    publish,
    recreate,
)
from tests.integration.test_whole import settled
from tests.whole import running, until

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize("survive", [0, 2], ids=["replaced", "cut"])
def test_a_stream_that_changes_under_a_running_dispatcher_loses_and_doubles_nothing(
    tmp_path: Path,
    rabbitmq: RabbitNode,
    database_url: str,
    engine: Engine,
    broker: Broker,
    slug: str,
    survive: int,
) -> None:
    urls = {"database_url": database_url, "amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    with running(tmp_path, **urls) as whole:
        whole.add_customer(slug)
        messages = [message(slug) for _ in range(3)]
        publish(broker, slug, messages)
        counted(engine, slug, 3)
        recreate(broker, raw(slug), [*messages[:survive], *(message(slug) for _ in range(5))])
        counted(engine, slug, 8)
        until(lambda: cursor(engine, slug) == survive + 5, "the new stream's end")
        until(partial(settled, whole, slug), "balanced books")
        now = found(whole, engine, slug)
        assert now["kinds"]
        log = (tmp_path / "dispatcher.log").read_text()
        assert re.findall('"event": "stream_(cut|replaced)"', log) == now["kinds"]
        assert (now["events"], now["balanced"], now["results"]) == (8, True, 0)
        assert now["verified"] == (0, now["kinds"], survive + 5, [])


@pytest.mark.parametrize("kinds", list(product(("cut", "replaced"), repeat=2)), ids="-".join)
def test_a_stream_that_changes_again_loses_and_doubles_nothing(
    tmp_path: Path,
    rabbitmq: RabbitNode,
    database_url: str,
    engine: Engine,
    broker: Broker,
    slug: str,
    kinds: tuple[str, str],
) -> None:
    urls = {"database_url": database_url, "amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    with running(tmp_path, **urls) as whole:
        whole.add_customer(slug)
        holds = [message(slug) for _ in range(3)]
        publish(broker, slug, holds)
        counted(engine, slug, 3)
        for nth, kind in enumerate(kinds, 1):
            survive = len(holds) - 1 if kind == "cut" else 0
            holds = [*holds[:survive], *(message(slug) for _ in range(3))]
            recreate(broker, raw(slug), holds)
            counted(engine, slug, 3 + 3 * nth)
            until(partial(is_read_up_to, engine, slug, len(holds)), "the new stream's end")
            until(partial(settled, whole, slug), "balanced books")
            now = found(whole, engine, slug)
            assert (now["kinds"], now["events"]) == (list(kinds[:nth]), 3 + 3 * nth)
            assert (now["expired"], now["duplicates"], now["results"]) == (0, 0, 0)
            assert now["verified"] == (0, now["kinds"], len(holds), [])


@pytest.mark.parametrize("kept", [0, 2], ids=["replaced", "cut"])
def test_results_that_a_processed_stream_loses_before_their_deposit_are_made_again(
    tmp_path: Path,
    rabbitmq: RabbitNode,
    database_url: str,
    engine: Engine,
    broker: Broker,
    slug: str,
    kept: int,
) -> None:
    urls = {"database_url": database_url, "amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    later = f"{slug}-later"
    with running(tmp_path, SLUICE_TASK_STALE_AFTER_S="3", **urls) as whole:
        whole.add_customer(slug)
        publish(broker, slug, [message(slug)])
        counted(engine, slug, 1)
        # Deposits go where nobody takes them.
        for name in ("dispatcher", "worker"):
            whole.kill(name, signal.SIGTERM)
        whole.flask("customers", "route", slug, "deposit", later)
        whole.start("worker", "-n", f"again-{whole.port}@%h", "-Q", f"customer-{slug}")
        whole.start("dispatcher")
        for last in (1, 2):
            publish(broker, slug, [message(slug)])
            until(partial(made, broker, slug, last), "the result of one more window")
        assert events(engine, slug) == 1
        results = broker.read(processed(slug), 0, 2, deadline_s=DEADLINE_S)
        recreate(broker, processed(slug), [bytes(one.data) for one in results][:kept])
        whole.flask("customers", "route", slug, "deposit")
        counted(engine, slug, 3)
        until(partial(settled, whole, slug), "balanced books")
        now = found(whole, engine, slug)
        assert (now["kinds"], now["events"], now["results"]) == ([], 3, 0)
        assert now["verified"] == (0, [], 3, [])
    with Connection(rabbitmq.amqp_url) as connection:
        Queue(later).bind(connection.channel()).delete()


def made(broker: Broker, slug: str, last: int) -> bool:
    """Whether the newest result is at this offset."""
    return broker.last_offset(processed(slug), deadline_s=DEADLINE_S) == last


def is_read_up_to(engine: Engine, slug: str, offset: int) -> bool:
    return cursor(engine, slug) == offset


def test_a_window_is_not_decoded_from_another_stream_that_no_dispatcher_has_seen(
    tmp_path: Path, rabbitmq: RabbitNode, database_url: str, engine: Engine, broker: Broker, slug: str
) -> None:
    urls = {"database_url": database_url, "amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    with running(tmp_path, **urls) as whole:
        whole.add_customer(slug)
        publish(broker, slug, [message(slug) for _ in range(3)])
        counted(engine, slug, 3)
        whole.kill("worker", signal.SIGTERM)
        publish(broker, slug, [message(slug) for _ in range(2)])
        dispatched(engine, slug, 5)
        whole.kill("dispatcher", signal.SIGTERM)
        recreate(broker, raw(slug), [message(slug) for _ in range(7)])

        whole.start("worker", "-n", f"again-{whole.port}@%h")
        log = tmp_path / "worker.log"
        until(lambda: "NotWhatWasBooked" in log.read_text(), "the window to be taken and left")
        assert events(engine, slug) == 3

        whole.start("dispatcher")
        counted(engine, slug, 10)
        until(partial(settled, whole, slug), "balanced books")
        now = found(whole, engine, slug)
        assert (now["kinds"], now["expired"], now["results"]) == (["replaced"], 2, 0)

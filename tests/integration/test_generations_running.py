"""Streams that are cut or replaced while somebody reads them."""

import re
import signal
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Engine

from deploy.local.rabbitmq import RabbitNode
from streams import Broker, raw
from tests.integration.test_generations import (
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

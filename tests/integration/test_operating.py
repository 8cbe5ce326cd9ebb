"""What an operator changes while batches flow: states and pipelines, end to end."""

import contextlib
import json
import secrets
import signal
from collections.abc import Iterator
from pathlib import Path

import kombu
import pytest
from amqp.exceptions import NotFound
from sqlalchemy import Engine

from deploy.local.rabbitmq import RabbitNode
from tests.integration.test_whole import event, ndjson, scalar, settled
from tests.whole import Whole, running, until


@pytest.fixture
def whole(tmp_path: Path, rabbitmq: RabbitNode, database_url: str) -> Iterator[Whole]:
    urls = {"database_url": database_url, "amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    with running(tmp_path, **urls) as whole:
        yield whole


def accepted(whole: Whole, key: str, **changes: object) -> None:
    body = ndjson(event(secrets.token_hex(16), **changes))
    assert whole.post_batch(key, body).status == 202


def waiting(rabbitmq: RabbitNode, queue: str) -> int:
    """Messages in the queue; 0 while there is none."""
    with (
        contextlib.suppress(NotFound),
        kombu.Connection(rabbitmq.amqp_url) as connection,
        connection.channel() as channel,
    ):
        return int(channel.queue_declare(queue, passive=True).message_count)
    return 0


def test_a_dropping_customers_batches_end_in_the_count_of_the_discarded(
    whole: Whole, engine: Engine, slug: str
) -> None:
    key = whole.add_customer(slug)
    accepted(whole, key)
    until(lambda: settled(whole, slug), "balanced books")
    whole.flask("customers", "drop", slug, "--by", "test", "--why", "test", "--yes")

    def discarded() -> int:
        accepted(whole, key)
        return int(whole.books(slug)["customers"][0]["discarded"])

    until(discarded, "the receiver to learn that it drops")
    until(lambda: settled(whole, slug), "balanced books")
    books = whole.books(slug)["customers"][0]
    assert books["deposited"] + books["discarded"] == books["in_stream"]
    assert scalar(engine, "SELECT sum(events) FROM interactions") == books["deposited"]
    whole.flask("verify", slug)


def test_a_paused_customers_batches_wait_and_are_deposited_when_it_is_resumed(
    whole: Whole, engine: Engine, slug: str
) -> None:
    key, other = whole.add_customer(slug), whole.add_customer(f"{slug}-other")
    whole.flask("customers", "pause", slug)

    def waiting() -> int:
        accepted(whole, key)
        return int(whole.books(slug)["customers"][0]["undispatched"])

    until(lambda: waiting() >= 5, "the dispatcher to leave batches where they are")
    accepted(whole, other)
    until(lambda: settled(whole, f"{slug}-other"), "the other customer's batch")
    assert whole.books(slug)["customers"][0]["undispatched"] >= 5
    whole.flask("customers", "resume", slug)
    until(lambda: settled(whole, slug), "balanced books")
    whole.flask("verify", slug)


def test_a_pipeline_that_is_set_takes_effect_and_is_pinned_in_the_window(
    whole: Whole, engine: Engine, slug: str, tmp_path: Path
) -> None:
    key, definition = whole.add_customer(slug), tmp_path / "pipeline.json"
    document = json.loads(whole.flask("pipeline", "show", slug).stdout)
    document["steps"].insert(0, {"step": "drop", "rule": "noise", "where": {"service": ["noise"]}})
    definition.write_text(json.dumps(document))
    accepted(whole, key, service="noise")
    until(lambda: settled(whole, slug), "balanced books")
    whole.flask("pipeline", "set", slug, str(definition))

    def dropped() -> int:
        accepted(whole, key, service="noise")
        return int(whole.books(slug)["customers"][0]["dropped"])

    until(dropped, "the new pipeline to drop")
    until(lambda: settled(whole, slug), "balanced books")
    pinned = "SELECT sum(dropped) FROM windows WHERE pipeline_version = "
    assert scalar(engine, pinned + "1") == 0
    assert scalar(engine, pinned + "2") == whole.books(slug)["customers"][0]["dropped"]


def test_a_stage_that_is_routed_elsewhere_is_done_by_the_workers_there(
    whole: Whole, rabbitmq: RabbitNode, engine: Engine, slug: str
) -> None:
    key = whole.add_customer(slug)
    whole.flask("customers", "route", slug, "process", f"layer-{slug}")
    whole.kill("worker", signal.SIGTERM)
    whole.start("own", "-Q", f"customer-{slug}", "-n", f"own-{slug}@%h", role="worker")
    accepted(whole, key)

    until(lambda: waiting(rabbitmq, f"layer-{slug}"), "the window's events to wait for the stage")
    assert whole.books(slug)["customers"][0]["owed_batches"] == 1
    whole.start("layer", "-Q", f"layer-{slug}", "-n", f"layer-{slug}@%h", role="worker")
    until(lambda: settled(whole, slug), "balanced books")
    assert scalar(engine, "SELECT sum(events) FROM interactions") == 1


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_windows_whose_customer_is_routed_back_do_not_wait_in_the_old_queue(
    tmp_path: Path, rabbitmq: RabbitNode, database_url: str, engine: Engine, slug: str
) -> None:
    urls = {"database_url": database_url, "amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    with running(tmp_path, SLUICE_TASK_STALE_AFTER_S="3600", **urls) as whole:
        whole.kill("worker", signal.SIGTERM)
        key = whole.add_customer(slug)
        whole.flask("customers", "route", slug, "decode", f"{slug}-decode")
        accepted(whole, key)
        # A dispatcher that learns of customer and route apart has rung the customer's own queue before.
        until(lambda: waiting(rabbitmq, f"{slug}-decode"), "a doorbell in the old queue")
        whole.flask("customers", "route", slug, "decode")
        whole.start("worker", "-n", f"again-{slug}@%h", "-Q", f"customer-{slug}")
        until(lambda: settled(whole, slug), "balanced books")
        left = json.loads(whole.flask("queues", "list", "--json").stdout)["queues"]
        old = {"queue": f"{slug}-decode", "slugs": [slug], "messages": 1, "consumers": 0}
        assert left == [old], "nobody uses the old queue, where the first doorbell still lies"
        whole.flask("queues", "remove", f"{slug}-decode")
        assert json.loads(whole.flask("queues", "list", "--json").stdout) == {"queues": []}


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_customers_windows_are_rung_by_hand(
    tmp_path: Path, rabbitmq: RabbitNode, database_url: str, engine: Engine, slug: str
) -> None:
    urls = {"database_url": database_url, "amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    with (
        running(tmp_path, SLUICE_TASK_STALE_AFTER_S="3600", **urls) as whole,
        kombu.Connection(rabbitmq.amqp_url) as connection,
    ):
        whole.kill("worker", signal.SIGTERM)
        key = whole.add_customer(slug)
        accepted(whole, key)
        until(lambda: _purged(connection, f"customer-{slug}"), "a doorbell to lose")
        whole.start("worker", "-n", f"again-{slug}@%h", "-Q", f"customer-{slug}")
        assert "rung within 10 s: 1" in whole.flask("ring", slug).stderr
        until(lambda: settled(whole, slug), "balanced books")


def _purged(connection: kombu.Connection, queue: str) -> int:
    with contextlib.suppress(NotFound), connection.channel() as channel:
        return int(channel.queue_purge(queue))
    return 0

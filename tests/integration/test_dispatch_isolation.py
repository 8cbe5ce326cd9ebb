"""A stream that can't be read stops its own customer and nobody else."""

import secrets
import signal
import time
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from bench.installation.leaderless import leaderless
from deploy.local.rabbitmq import RabbitNode
from streams import Broker, raw
from streams.errors import BrokerUnavailable
from tests.envelopes import envelope
from tests.integration.test_whole import event, ndjson, scalar
from tests.receiver import stands_still
from tests.whole import running, until

pytestmark = pytest.mark.timeout(600)
CUSTOMERS = 50
DEADLINE_S = 30.0
FETCH = "tasks.dispatcher.loop:quarantine_rows"


def publish(broker: Broker, slugs: list[str], *, unfit: bool = False) -> None:
    """One batch of one event for each of them."""
    for slug in slugs:
        body, now_us = ndjson(event(secrets.token_hex(16))), time.time_ns() // 1000
        message = (
            b"no envelope" if unfit else envelope(slug, secrets.token_hex(8), body, accepted_at_us=now_us)
        )
        broker.publish(raw(slug), message, deadline_s=DEADLINE_S)


def events_by_slug(engine: Engine) -> dict[str, int]:
    """Events in the interactions of each customer that has any."""
    query = (
        "SELECT slug, sum(events) AS events FROM interactions"
        " JOIN customers ON id = customer_id GROUP BY slug"
    )
    with engine.connect() as connection:
        return {row.slug: row.events for row in connection.execute(text(query))}


def test_a_leaderless_and_a_deleted_stream_stop_their_own_customers_only(
    tmp_path: Path, rabbitmq: RabbitNode, sqlite_url: str, broker: Broker, slug: str
) -> None:
    urls = {"database_url": sqlite_url, "amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    slugs = [f"{slug}-{number}" for number in range(CUSTOMERS)]
    headless, deleted, *others = slugs
    engine = create_engine(sqlite_url)

    def deposited(slugs: list[str], least: int) -> bool:
        found = events_by_slug(engine)
        return all(found.get(slug, 0) >= least for slug in slugs)

    with running(tmp_path, **urls) as whole, ExitStack() as broken:
        for each in slugs:
            whole.add_customer(each)
        publish(broker, slugs)
        until(partial(deposited, slugs, 1), "everybody's first batch")
        broken.enter_context(leaderless(rabbitmq, raw(headless)))
        broker.delete(raw(deleted))
        publish(broker, others)
        until(partial(deposited, others, 2), "the others' second batch, beside streams that went away")
        whole.kill("dispatcher", signal.SIGTERM)
        whole.start("dispatcher")
        publish(broker, others)
        until(
            partial(deposited, others, 3),
            "the others' third batch, from a dispatcher that never saw these streams",
        )
        said = whole.log("dispatcher")
        until(lambda: "customer_not_opened" in whole.log("dispatcher"), "a word on the leaderless stream")
        assert "dispatch_waited" not in said
        assert "lease_lost" not in said
        broken.close()
        until(lambda: published(broker, headless), "the stream that came back to take a batch")
        until(partial(deposited, [headless], 2), "the batch of the customer whose stream came back")


def published(broker: Broker, slug: str) -> bool:
    """Whether a batch could be published; one that could not may be in the stream all the same, once."""
    with suppress(BrokerUnavailable):
        publish(broker, [slug])
        return True
    return False


def quarantined(engine: Engine, slug: str) -> int:
    query = "SELECT count(*) FROM quarantine q JOIN customers c ON c.id = q.customer_id WHERE slug = :slug"
    return int(scalar(engine, query, slug=slug))


def interactions(engine: Engine) -> int:
    return int(scalar(engine, "SELECT count(*) FROM interactions"))


def test_unfit_messages_of_a_stream_that_goes_away_while_they_are_fetched_stop_nobody_else(
    tmp_path: Path, rabbitmq: RabbitNode, sqlite_url: str, broker: Broker, slug: str
) -> None:
    urls = {"database_url": sqlite_url, "amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    engine = create_engine(sqlite_url)
    with running(tmp_path, **urls) as whole:
        whole.kill("dispatcher", signal.SIGTERM)
        whole.launcher = lambda _: ("-m", "tests.halted", FETCH, "before", "SIGSTOP")
        dispatcher = whole.start("dispatcher")

        def come_to(count: int) -> bool:
            """As many rows in quarantine; the dispatcher stops at each fetch, and goes on."""
            dispatcher.send_signal(signal.SIGCONT)
            return quarantined(engine, unfit) == count

        unfit, other = f"{slug}-unfit", f"{slug}-other"
        whole.add_customer(unfit)
        whole.add_customer(other)
        publish(broker, [unfit], unfit=True)
        until(partial(come_to, 1), "the first unfit message in quarantine")
        publish(broker, [unfit], unfit=True)
        until(lambda: stands_still(dispatcher.pid), "the fetch of the second one to begin")
        with leaderless(rabbitmq, raw(unfit)):
            dispatcher.send_signal(signal.SIGCONT)
            publish(broker, [other])
            until(lambda: "stream_lost" in whole.log("dispatcher"), "the stream to be missed")
            until(lambda: interactions(engine) == 1, "the other's batch")
            assert quarantined(engine, unfit) == 1
        until(partial(come_to, 2), "the second one in quarantine, when its stream is back")
        assert "dispatch_waited" not in whole.log("dispatcher")

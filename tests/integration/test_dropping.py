"""A retry of a batch that meets another state of its customer than the first try did."""

import secrets
import time
from functools import partial
from pathlib import Path

import pytest
from sqlalchemy import Engine

from deploy.local.rabbitmq import RabbitNode
from streams import Broker, StreamSettings, raw
from tests.envelopes import envelope
from tests.integration.test_whole import event, ndjson, scalar, settled
from tests.whole import Whole, running, until

DEADLINE_S = 30.0
DROPPED, KEPT = True, False
# The tries of one batch: whether each was dropped; discarded, duplicates and events that are booked then.
TRIES = (
    ((DROPPED, KEPT), (1, 0, 1)),
    ((KEPT, DROPPED), (0, 1, 1)),
    ((DROPPED, DROPPED), (1, 1, 0)),
    ((DROPPED, KEPT, DROPPED, KEPT), (1, 2, 1)),
)


@pytest.mark.timeout(400)
def test_content_that_was_discarded_counts_when_it_comes_again(
    tmp_path: Path, rabbitmq: RabbitNode, database_url: str, engine: Engine, slug: str
) -> None:
    urls = {"database_url": database_url, "amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    broker = Broker(StreamSettings(url=rabbitmq.stream_url, broker_url=rabbitmq.amqp_url))
    with running(tmp_path, **urls) as whole:
        wanted, apart = {}, {}
        for number, (tries, booked) in enumerate(TRIES):
            names = f"{slug}-{number}-at-once", f"{slug}-{number}-apart"
            for one in names:
                whole.add_customer(one)
                wanted[one] = booked
            broker.publish_all(raw(names[0]), messages(names[0], tries), deadline_s=DEADLINE_S)
            apart[names[1]] = messages(names[1], tries)
        while any(apart.values()):
            for one, left in apart.items():
                if left:
                    broker.publish(raw(one), left.pop(0), deadline_s=DEADLINE_S)
            for one in apart:
                until(partial(settled, whole, one), f"{one}: each try in a window of its own")
        for one in wanted:
            until(partial(settled, whole, one), f"{one}: balanced books")
            assert whole.flask("verify", one, check=False).returncode == 0
        assert {one: found(whole, engine, one) for one in wanted} == wanted
    broker.close()


def messages(slug: str, tries: tuple[bool, ...]) -> list[bytes]:
    """One batch of one event, as the receiver writes it at each try."""
    body, batch_id, now_us = (
        ndjson(event(secrets.token_hex(16))),
        secrets.token_hex(8),
        time.time_ns() // 1000,
    )
    return [
        envelope(slug, batch_id, body, accepted_at_us=now_us + at, discarded=dropped)
        for at, dropped in enumerate(tries)
    ]


def found(whole: Whole, engine: Engine, slug: str) -> tuple[int, int, int]:
    books = whole.books(slug)["customers"][0]
    query = "SELECT sum(events) FROM interactions JOIN customers ON id = customer_id WHERE slug = :slug"
    return books["discarded"], books["duplicates"], int(scalar(engine, query, slug=slug) or 0)

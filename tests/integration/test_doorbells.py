"""When windows are rung again, and where the doorbells of before wait."""

import time
from types import SimpleNamespace
from typing import cast
from urllib.parse import urlsplit

import pytest
from celery import Celery
from kombu import Connection, Queue
from kombu.exceptions import OperationalError
from sqlalchemy import Engine

import celeryconfig
from db.customers.rows import get, set_route
from db.engine import begin
from deploy.local.rabbitmq import RabbitNode
from tasks.chains import ring, ring_deposit
from tasks.dispatcher.doorbells import Doorbells
from tasks.dispatcher.raw_streams.feed import Feed, LastRing
from tasks.dispatcher.scheduling.queue_depth import Queues
from tasks.queues import STAGES
from tasks.settings import TaskSettings
from tasks.worker import transport
from tests.integration.ledger_rows import add_customer, claim, record
from tests.proxy import Proxy

STALE = LastRing(time.monotonic() - 10_000.0)


def test_doorbells_in_a_queue_that_its_customer_left_keep_none_from_being_rung(
    engine: Engine, rabbitmq: RabbitNode, slug: str
) -> None:
    """A dispatcher that was started after the route was set rings by its patience alone."""
    customer = add_customer(engine, slug)
    window = record(engine, customer, claim(engine, customer), 0, 0)
    app = Celery(broker=rabbitmq.amqp_url)
    queues = Queues(app)
    doorbells = Doorbells(app=app, engine=engine, queues=queues, settings=TaskSettings())
    with Connection(rabbitmq.amqp_url) as connection:
        own, new = (Queue(name).bind(connection.channel()) for name in (f"customer-{slug}", f"{slug}-new"))
        for queue in (own, new):
            queue.queue_declare()
        doorbells.ring(customer, window)
        _waits(own)

        feed = cast(Feed, SimpleNamespace(slug=slug, in_flight={window: STALE}))
        doorbells.ring_stale(customer, feed)
        assert new.get() is None, "its doorbell waits where it is looked for"
        with begin(engine) as conn:
            for stage in STAGES:
                set_route(conn, customer.id, stage, new.name)
            moved = get(conn, slug)
        assert moved is not None
        doorbells.ring_stale(moved, feed)
        assert _waits(new)
        for queue in (own, new):
            queue.delete()
    queues.close()


def test_a_ring_that_nobody_answers_is_tried_twice_and_not_for_minutes(
    engine: Engine, rabbitmq: RabbitNode, slug: str
) -> None:
    """All customers of a dispatcher wait for each of its rings; the window's row says what is owed."""
    customer = add_customer(engine, slug)
    transport.use()
    port = urlsplit(rabbitmq.amqp_url).port
    assert port
    with Proxy("127.0.0.1", port) as proxy:
        app = Celery(broker=rabbitmq.amqp_url.replace(f":{port}", f":{proxy.port}"))
        app.conf.update(
            broker_connection_timeout=0.5,
            broker_transport_options=celeryconfig.broker_transport_options | {"read_timeout": 0.5},
            task_publish_retry_policy=celeryconfig.task_publish_retry_policy,
        )
        for send in (ring, ring_deposit):
            proxy.swallow_answers(False)
            ring(app, 1, customer.id, customer.slug, customer.routes)
            before = len(proxy.sent)
            proxy.swallow_answers()
            with pytest.raises(OperationalError):
                send(app, 1, customer.id, customer.slug, customer.routes)
            assert len(proxy.sent) - before <= 2
        app.close()
    with Connection(rabbitmq.amqp_url) as connection:
        Queue(f"customer-{slug}").bind(connection.channel()).delete()


def _waits(queue: Queue) -> bool:
    end = time.monotonic() + 60.0
    while queue.queue_declare(passive=True).message_count == 0:
        assert time.monotonic() < end, f"no doorbell in {queue.name}"
        time.sleep(0.05)
    return True

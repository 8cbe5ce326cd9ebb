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
from tasks.carried import Messages, unpack
from tasks.chains import ring, ring_deposit
from tasks.dispatcher.doorbells import Doorbells, RungWindow
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


def test_small_windows_share_a_doorbell_and_have_their_own_when_it_is_refused(
    engine: Engine, rabbitmq: RabbitNode, slug: str
) -> None:
    app = Celery(broker=rabbitmq.amqp_url)
    app.conf.task_default_queue = f"shared-{slug}"
    queues = Queues(app)
    doorbells = Doorbells(app=app, engine=engine, queues=queues, settings=TaskSettings())
    customers = [add_customer(engine, f"{slug}-{letter}") for letter in "abc"]
    groups = [1, 1, None]
    messages: list[Messages] = [{4: b"\xff carried"}, {}, {}]
    with Connection(rabbitmq.amqp_url) as connection:
        channel = connection.channel()
        shared = Queue(app.conf.task_default_queue).bind(channel)
        own = [Queue(f"customer-{customer.slug}").bind(channel) for customer in customers]
        for queue in own:
            queue.queue_declare()

        def rung() -> list[dict[int, LastRing]]:
            feeds = [cast(Feed, SimpleNamespace(slug=one.slug, in_flight={})) for one in customers]
            doorbells.ring_new([*map(RungWindow, (1, 2, 3), customers, feeds, groups, messages)], 0)
            return [feed.in_flight for feed in feeds]

        in_flight = rung()
        assert _waits(shared)
        message = shared.get(no_ack=True)
        assert message is not None
        assert message.headers["task"] == "decode_process_deposit"
        (windows, carried), *_ = message.payload
        assert (windows, unpack(carried)) == ([1, 2], {1: messages[0]})
        assert [each[window].group for window, each in enumerate(in_flight[:2], 1)] == [1, 1]
        assert [queue.get(no_ack=True) is None for queue in own] == [True, True, False]

        app.conf.task_default_queue = f"refused-{slug}"
        other = Queue(app.conf.task_default_queue, queue_arguments={"x-max-length": 5}).bind(channel)
        other.queue_declare()
        rung()
        assert all(_waits(queue) for queue in own)
        assert other.get() is None
        for queue in (shared, other, *own):
            queue.delete()
    queues.close()

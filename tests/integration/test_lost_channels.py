"""A channel that the broker closed holds no consumers, whoever learned of its end, and says so."""

from collections.abc import Iterator
from typing import Any

import pytest
from amqp.exceptions import ChannelError
from celery import Celery
from kombu import Connection, Queue

import celeryconfig
from bench.installation.leaderless import evaluate
from deploy.local.rabbitmq import RabbitNode
from tasks.chains import ring
from tasks.worker import transport

CLOSE_CHANNELS = "[exit(Pid, kill) || Pid <- rabbit_channel:list()], ok."


@pytest.fixture
def connection(rabbitmq: RabbitNode) -> Iterator[Connection]:
    transport.use()
    with Connection(rabbitmq.amqp_url) as connection:
        yield connection


def test_a_channel_whose_end_is_met_while_another_is_asked_is_known_to_be_lost(
    connection: Connection, slug: str
) -> None:
    consuming, asking = connection.channel(), connection.channel()
    consuming.queue_declare(f"lost-{slug}", auto_delete=True)
    consuming.basic_consume(f"lost-{slug}", consumer_tag="ours")
    assert not transport.lost(consuming)
    consuming.basic_ack(4711)  # which the broker never gave out: 406
    with pytest.raises(ChannelError):
        _ask_on(asking)
    assert transport.lost(consuming)
    assert not transport.lost(connection.channel())


def test_a_channel_that_was_closed_by_us_is_lost(connection: Connection) -> None:
    channel = connection.channel()
    channel.close()
    assert transport.lost(channel)


def test_a_doorbell_is_sent_although_the_broker_failed_since_the_last(
    connection: Connection, rabbitmq: RabbitNode, slug: str
) -> None:
    """541 ends the connection that the next message would have gone through."""
    app = Celery(broker=rabbitmq.amqp_url)
    app.conf.update(broker_transport_options=celeryconfig.broker_transport_options)
    own = Queue(f"customer-{slug}").bind(connection.channel())
    ring(app, 1, 1, slug, {})
    evaluate(rabbitmq, CLOSE_CHANNELS)
    ring(app, 2, 1, slug, {})
    app.close()
    with Connection(rabbitmq.amqp_url) as other:
        assert own.bind(other.channel()).delete() == 2


def _ask_on(channel: Any) -> None:
    """Until the answer to what another channel did comes instead."""
    while True:
        channel.exchange_declare("amq.direct", "direct", passive=True)

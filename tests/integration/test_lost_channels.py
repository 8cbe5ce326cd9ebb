"""A channel that the broker closed holds no consumers, whoever learned of its end, and says so."""

from collections.abc import Iterator
from typing import Any

import pytest
from amqp.exceptions import ChannelError
from kombu import Connection

from deploy.local.rabbitmq import RabbitNode
from tasks.worker import transport


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


def _ask_on(channel: Any) -> None:
    """Until the answer to what another channel did comes instead."""
    while True:
        channel.exchange_declare("amq.direct", "direct", passive=True)

"""A Broker that is closed, or whose loop is."""

import asyncio
import threading

import pytest

from streams import Broker, StreamSettings
from streams.connections.loop_thread import HostLoop
from streams.errors import BrokerUnavailable


def test_a_closed_broker_is_not_ready() -> None:
    broker = Broker(StreamSettings(url="rabbitmq-stream://127.0.0.1:1", broker_url="amqp://127.0.0.1:1"))
    broker.close()
    assert not broker.ready(1.0)


def test_who_asks_after_the_loop_has_ended_is_told_so() -> None:
    loop = asyncio.new_event_loop()
    host = HostLoop(loop)
    loop.close()
    found: list[type[BaseException]] = []

    def ask() -> None:
        with pytest.raises(BrokerUnavailable) as refused:
            host.call(asyncio.sleep(0), 1.0, "asking")
        found.append(refused.type)

    asking = threading.Thread(target=ask)
    asking.start()
    asking.join()
    assert found == [BrokerUnavailable]

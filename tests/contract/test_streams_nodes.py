"""Several addresses in STREAM_URL: any of them will do, and a dead one costs nothing but a try."""

from collections.abc import Iterator
from urllib.parse import urlsplit

import pytest

from deploy.local.rabbitmq import RabbitNode
from streams import Broker
from streams.errors import BrokerUnavailable
from tests.contract.conftest import MakeBroker, contents, eventually
from tests.proxy import Proxy

NODES = 3


@pytest.fixture
def ways(rabbitmq: RabbitNode) -> Iterator[list[Proxy]]:
    """Three addresses that lead to the node."""
    address = urlsplit(rabbitmq.stream_url)
    assert address.hostname is not None
    assert address.port is not None
    proxies = [Proxy(address.hostname, address.port) for _ in range(NODES)]
    yield proxies
    for proxy in proxies:
        proxy.close()


@pytest.fixture
def many_ways(ways: list[Proxy], rabbitmq: RabbitNode, make_broker: MakeBroker) -> Broker:
    port = urlsplit(rabbitmq.stream_url).port
    urls = [rabbitmq.stream_url.replace(f":{port}", f":{way.port}") for way in ways]
    # Whoever waited for a dead address, or tried it alone, would not be back within this test's patience.
    return make_broker(url=";".join(urls), backoff_min_s=10, backoff_max_s=60)


def close(way: Proxy) -> None:
    way.refuse()
    way.cut()


def test_a_process_turns_to_the_next_address_when_the_one_it_uses_is_dead(
    many_ways: Broker, ways: list[Proxy], broker: Broker, stream: str
) -> None:
    many_ways.publish(stream, b"0", deadline_s=5)
    alive = list(ways)
    for number in range(1, NODES):
        used = next(way for way in alive if way.sent)
        alive.remove(used)
        close(used)

        def published(message: bytes = b"%d" % number) -> bool:
            try:
                many_ways.publish(stream, message, deadline_s=5)
            except BrokerUnavailable:
                return False
            return True

        eventually(published, "publishing over another address")
    expected = [b"%d" % number for number in range(NODES)]
    assert contents(broker, stream) == expected
    assert contents(many_ways, stream) == expected


def test_with_all_addresses_dead_the_broker_is_unavailable_at_once_and_comes_back(
    ways: list[Proxy], rabbitmq: RabbitNode, make_broker: MakeBroker
) -> None:
    port = urlsplit(rabbitmq.stream_url).port
    urls = [rabbitmq.stream_url.replace(f":{port}", f":{way.port}") for way in ways]
    broker = make_broker(url=";".join(urls), backoff_min_s=0.1, backoff_max_s=0.5)
    assert broker.ready(5.0)
    unused = next(way for way in ways if not way.sent)
    for way in ways:
        close(way)
    eventually(lambda: not broker.ready(1.0), "nothing answers")
    unused.refuse(False)
    eventually(lambda: broker.ready(1.0), "the one address that answers is found")


def test_a_frozen_address_is_left_after_its_silence(
    ways: list[Proxy], rabbitmq: RabbitNode, make_broker: MakeBroker
) -> None:
    port = urlsplit(rabbitmq.stream_url).port
    urls = [rabbitmq.stream_url.replace(f":{port}", f":{way.port}") for way in ways]
    broker = make_broker(url=";".join(urls), heartbeat_s=1, connect_timeout_s=1.0)
    assert broker.ready(5.0)
    for way in ways:
        if way.sent:
            way.freeze()
    eventually(lambda: broker.ready(1.0), "another address is found")

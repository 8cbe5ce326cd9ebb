"""What the tests of the streams room share: brokers, streams of their own, a proxy in between."""

import struct
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from deploy.local.rabbitmq import RabbitNode
from streams import Broker, StreamSettings, raw
from tests.proxy import Proxy

MakeBroker = Callable[..., Broker]


@pytest.fixture
def make_broker(rabbitmq: RabbitNode) -> Iterator[MakeBroker]:
    """Brokers on the session's node; any setting may be given. All are closed after the test."""
    made: list[Broker] = []

    def make(**settings: Any) -> Broker:
        defaults = {"url": rabbitmq.stream_url, "broker_url": rabbitmq.amqp_url}
        made.append(Broker(StreamSettings(**(defaults | settings))))
        return made[-1]

    yield make
    for broker in made:
        broker.close()


@pytest.fixture
def broker(make_broker: MakeBroker) -> Broker:
    return make_broker()


@pytest.fixture
def stream(broker: Broker, slug: str) -> Iterator[str]:
    """An empty stream of this test's own."""
    name = raw(slug)
    broker.declare(name, max_bytes=500_000_000, max_age_s=3600, segment_bytes=50_000_000)
    yield name
    broker.delete(name)


@pytest.fixture
def proxy(rabbitmq: RabbitNode) -> Iterator[Proxy]:
    """In front of the node's stream listener."""
    address = urlsplit(rabbitmq.stream_url)
    assert address.hostname is not None
    assert address.port is not None
    with Proxy(address.hostname, address.port) as proxy:
        yield proxy


@pytest.fixture
def proxied(proxy: Proxy, rabbitmq: RabbitNode, make_broker: MakeBroker) -> MakeBroker:
    """Brokers whose stream connections all go through `proxy`; heartbeats of one second."""
    address = urlsplit(rabbitmq.stream_url)
    url = rabbitmq.stream_url.replace(f":{address.port}", f":{proxy.port}")

    def make(**settings: Any) -> Broker:
        return make_broker(**({"url": url, "heartbeat_s": 1, "backoff_max_s": 0.5} | settings))

    return make


def sent_frames(proxy: Proxy, key: int) -> list[bytes]:
    """The frames of that kind which went through the proxy to the broker, without their length."""
    frames = []
    for sent in proxy.sent:
        position = 0
        while position + 4 <= len(sent):
            length, found = struct.unpack_from(">IH", sent, position)
            if found == key:
                frames.append(bytes(sent[position + 4 : position + 4 + length]))
            position += 4 + length
    return frames


def contents(broker: Broker, stream: str) -> list[bytes]:
    """Every message that the stream holds."""
    first = broker.first_offset(stream, deadline_s=10)
    last = broker.last_offset(stream, deadline_s=10)
    if first is None or last is None:
        return []
    return [bytes(message.data) for message in broker.read(stream, first, last, deadline_s=30)]


def eventually(condition: Callable[[], bool], what: str, within_s: float = 60.0) -> None:
    """Polls until the condition holds."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.01)

"""The broker goes away in the middle of everything, and comes back."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import rabbitmq as local_rabbitmq
from streams import raw
from streams.errors import BrokerUnavailable
from tests.contract.conftest import MakeBroker, contents, eventually

DEADLINE_S = 5.0


@pytest.fixture
def node(server_folder: Path) -> Iterator[local_rabbitmq.RabbitNode]:
    """A second node, for this test to stop and start."""
    node = local_rabbitmq.start(server_folder / "restarted")
    yield node
    node.stop()


def test_a_broker_that_stops_while_we_publish_loses_nothing_that_was_confirmed(
    node: local_rabbitmq.RabbitNode, make_broker: MakeBroker, slug: str
) -> None:
    broker = make_broker(url=node.stream_url, broker_url=node.amqp_url)
    stream = raw(slug)
    broker.declare(stream, max_bytes=100_000_000, max_age_s=3600, segment_bytes=10_000_000)
    confirmed: list[int] = []
    failed: list[int] = []
    stop = threading.Event()
    numbers = iter(range(10_000_000))
    slowest = [0.0]

    def publish() -> None:
        while not stop.is_set():
            number = next(numbers)
            started = time.monotonic()
            try:
                broker.publish(stream, b"%d" % number, deadline_s=DEADLINE_S)
                confirmed.append(number)
            except BrokerUnavailable:
                failed.append(number)
                stop.wait(0.02)
            slowest[0] = max(slowest[0], time.monotonic() - started)

    threads = [threading.Thread(target=publish) for _ in range(4)]
    for thread in threads:
        thread.start()
    follower = broker.follow(stream, 0)
    eventually(lambda: len(confirmed) > 100, "publishing works")
    node.stop()
    eventually(lambda: len(failed) > 20, "publishing fails")
    assert not broker.ready(0.5)
    before = len(confirmed)
    local_rabbitmq.start(node.folder)
    eventually(lambda: len(confirmed) > before + 100, "publishing works again", within_s=60)
    stop.set()
    for thread in threads:
        thread.join()
    assert slowest[0] < DEADLINE_S + 2
    kept = [int(message) for message in contents(broker, stream)]
    assert len(kept) == len(set(kept)), "a message was sent again"
    assert set(confirmed) <= set(kept)
    followed: list[bytes] = []

    def step() -> bool:
        broker.wait(0.1)
        for chunk in follower.take():
            followed.extend(map(bytes, chunk.messages))
            follower.done(chunk)
        return len(followed) >= len(kept)

    eventually(step, "the follower is back and has everything")
    assert [int(message) for message in followed] == kept

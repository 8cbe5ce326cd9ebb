"""Which messages share a Publish frame, and when it is sent."""

import asyncio
import os
import struct
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from streams import Broker
from streams.connections import frames
from streams.errors import BrokerUnavailable
from streams.publishing import stream_publisher
from streams.publishing.stream_publisher import StreamPublisher
from tests.contract.conftest import MakeBroker, contents, eventually, sent_frames
from tests.proxy import Proxy


def publish_frames(proxy: Proxy) -> list[tuple[int, int]]:
    """Bytes and messages of each Publish frame that went through the proxy."""
    sent = sent_frames(proxy, frames.PUBLISH)
    return [(len(frame), struct.unpack_from(">I", frame, 5)[0]) for frame in sent]


def publisher_of(broker: Broker, stream: str) -> StreamPublisher:
    running = broker._running
    assert running is not None
    return running.publisher._publishers[stream]


def loop_of(broker: Broker) -> asyncio.AbstractEventLoop:
    running = broker._running
    assert running is not None
    return running.thread.loop


def test_what_comes_before_a_confirm_shares_the_next_frame(
    proxied: MakeBroker, proxy: Proxy, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_publisher, "_SHARE_S", 0.0)
    broker = proxied(heartbeat_s=60)
    broker.publish(stream, b"first", deadline_s=10)
    publisher = publisher_of(broker, stream)
    proxy.freeze()
    with ThreadPoolExecutor(10) as pool:
        alone = pool.submit(broker.publish, stream, b"alone", deadline_s=60)
        eventually(lambda: len(publisher._unconfirmed) == 1, "the one message is being sent")
        through = threading.Event()
        loop_of(broker).call_soon_threadsafe(through.set)
        assert through.wait(60), "what comes while a message is being sent goes out with it"
        monkeypatch.setattr(stream_publisher, "_SHARE_S", 600.0)
        together = [pool.submit(broker.publish, stream, b"%d" % n, deadline_s=60) for n in range(9)]
        eventually(lambda: len(publisher.queue) == 9, "the others wait", within_s=20)
        proxy.thaw()
        for one in (alone, *together):
            one.result(60)
    assert [count for _, count in publish_frames(proxy)] == [1, 1, 9]
    assert publisher._unconfirmed_bytes == publisher.account.open == 0


def test_a_few_that_come_soon_after_a_frame_share_the_next_one(
    proxied: MakeBroker, proxy: Proxy, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream_publisher, "_SHARE_S", 600.0)
    broker = proxied(heartbeat_s=60)
    broker.publish(stream, b"first", deadline_s=10)
    publisher = publisher_of(broker, stream)
    with ThreadPoolExecutor(3) as pool:
        few = [pool.submit(broker.publish, stream, b"%d" % n, deadline_s=60) for n in range(3)]
        eventually(lambda: len(publisher.queue) == 3, "they wait, with nothing under way", within_s=20)
        assert not publisher._unconfirmed
        publisher._sent_at -= 600
        loop_of(broker).call_soon_threadsafe(publisher.writable)
        for one in few:
            one.result(60)
    assert [count for _, count in publish_frames(proxy)] == [1, 3]


def test_a_message_does_not_wait_for_another_ones_confirm_for_long(
    proxied: MakeBroker, make_broker: MakeBroker, proxy: Proxy, stream: str
) -> None:
    broker, another = proxied(heartbeat_s=60), make_broker()
    broker.publish(stream, b"first", deadline_s=10)
    proxy.swallow_answers()
    with ThreadPoolExecutor(2) as pool:
        waiting = [pool.submit(broker.publish, stream, b"a", deadline_s=60)]
        eventually(lambda: len(contents(another, stream)) == 2, "the one is in the stream", within_s=20)
        waiting.append(pool.submit(broker.publish, stream, b"b", deadline_s=60))
        eventually(lambda: len(contents(another, stream)) == 3, "the other is, too", within_s=20)
        proxy.swallow_answers(False)
        proxy.cut()
        for one in waiting:
            with pytest.raises(BrokerUnavailable, match="outcome unknown"):
                one.result(60)


def test_messages_of_many_threads_share_a_frame(proxied: MakeBroker, proxy: Proxy, stream: str) -> None:
    """What many threads publish while the loop is busy goes out together; how often it is busy is a
    benchmark's matter.
    """
    broker = proxied(heartbeat_s=30)
    broker.publish(stream, b"first", deadline_s=10)
    connections = len(proxy.sent)
    publisher = publisher_of(broker, stream)
    busy = threading.Event()
    loop_of(broker).call_soon_threadsafe(busy.wait, 60)
    with ThreadPoolExecutor(64) as pool:
        published = [pool.submit(broker.publish, stream, b"%d" % n, deadline_s=60) for n in range(64)]
        eventually(lambda: len(publisher.queue) == 64, "all messages wait")
        busy.set()
        for one in published:
            one.result(60)
    assert len(proxy.sent) == connections
    assert [messages for _, messages in publish_frames(proxy)] == [1, 64]
    assert sorted(contents(broker, stream)) == sorted([b"first"] + [b"%d" % n for n in range(64)])


def test_frames_are_split_at_what_the_broker_takes(proxied: MakeBroker, proxy: Proxy, stream: str) -> None:
    """3.10 takes larger ones all the same; from 4.3.5 on the broker closes the connection."""
    broker = proxied(frame_max=1 << 20)
    messages = [os.urandom(300_000) for _ in range(30)]
    broker.publish_all(stream, messages, deadline_s=30)
    assert broker.frame_max == 1 << 20
    assert contents(broker, stream) == messages
    frames = publish_frames(proxy)
    assert sum(count for _, count in frames) == 30
    assert max(length for length, _ in frames) <= 1 << 20

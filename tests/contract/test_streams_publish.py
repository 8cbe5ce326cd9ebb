"""Publishing: what a return means, what each refusal means."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from streams import Broker, raw
from streams.errors import BrokerUnavailable, ForeignProcess, Overloaded, StreamMissing, TooLarge
from tests.contract.conftest import MakeBroker, contents, eventually
from tests.proxy import Proxy


def test_what_publish_returned_for_is_in_the_stream(
    broker: Broker, make_broker: MakeBroker, stream: str
) -> None:
    another = make_broker()
    for number in range(20):
        broker.publish(stream, b"%d" % number, deadline_s=10)
        assert another.last_offset(stream, deadline_s=10) == number
    assert contents(another, stream) == [b"%d" % number for number in range(20)]


def test_publish_does_not_return_before_the_confirm(proxied: MakeBroker, proxy: Proxy, stream: str) -> None:
    broker = proxied(heartbeat_s=30)
    broker.publish(stream, b"first", deadline_s=10)
    proxy.freeze()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(broker.publish, stream, b"second", deadline_s=20)
        with pytest.raises(TimeoutError):
            waiting.result(0.3)
        proxy.thaw()
        waiting.result(10)
    assert contents(broker, stream) == [b"first", b"second"]


def test_a_confirm_that_never_comes_is_unavailable_at_the_deadline(
    proxied: MakeBroker, proxy: Proxy, stream: str
) -> None:
    broker = proxied(heartbeat_s=30)
    broker.publish(stream, b"first", deadline_s=10)
    proxy.freeze()
    started = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="outcome unknown"):
        broker.publish(stream, b"second", deadline_s=0.5)
    assert 0.4 < time.monotonic() - started < 5


def test_one_caller_keeps_its_order(broker: Broker, stream: str) -> None:
    messages = [b"%d" % number for number in range(5000)]
    broker.publish_all(stream, messages, deadline_s=30)
    assert contents(broker, stream) == messages


def test_the_largest_message_that_fits_is_published_and_read(make_broker: MakeBroker, stream: str) -> None:
    broker = make_broker(frame_max=1 << 20)
    largest = os.urandom((1 << 20) - 57)
    broker.publish(stream, largest, deadline_s=10)
    assert contents(broker, stream) == [largest]
    with pytest.raises(TooLarge):
        broker.publish(stream, largest + b"x", deadline_s=10)


def test_a_stream_past_its_bound_of_unconfirmed_bytes_is_overloaded_at_once(
    proxied: MakeBroker, proxy: Proxy, stream: str
) -> None:
    broker = proxied(unconfirmed_bytes_per_stream=100_000, heartbeat_s=30)
    broker.publish(stream, b"first", deadline_s=10)
    proxy.freeze()
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(broker.publish, stream, bytes(40_000), deadline_s=20) for _ in range(2)]
        eventually(lambda: is_overloaded(broker, stream), "the bound is reached")
        proxy.thaw()
        for each in waiting:
            each.result(20)
    broker.publish(stream, bytes(40_000), deadline_s=10)


def is_overloaded(broker: Broker, stream: str) -> bool:
    started = time.monotonic()
    try:
        broker.publish(stream, bytes(40_000), deadline_s=0.05)
    except Overloaded:
        return time.monotonic() - started < 0.05
    except BrokerUnavailable:
        return False
    return False


def test_a_process_past_its_bound_of_unconfirmed_bytes_is_overloaded_on_every_stream(
    proxied: MakeBroker, proxy: Proxy, stream: str, slug: str
) -> None:
    broker = proxied(unconfirmed_bytes_per_stream=60_000, unconfirmed_bytes=100_000, heartbeat_s=30)
    other = raw(f"{slug}-other")
    broker.declare(other, max_bytes=10_000_000, max_age_s=3600, segment_bytes=5_000_000)
    try:
        for name in (stream, other):
            broker.publish(name, b"first", deadline_s=10)
        proxy.freeze()
        with pytest.raises(BrokerUnavailable, match="outcome unknown"):
            broker.publish(stream, bytes(60_000), deadline_s=0.2)
        with pytest.raises(Overloaded, match="process"):
            broker.publish(other, bytes(50_000), deadline_s=10)
    finally:
        proxy.thaw()
        broker.delete(other)


def test_bytes_of_messages_that_were_confirmed_or_given_up_are_free_again(
    proxied: MakeBroker, proxy: Proxy, stream: str
) -> None:
    broker = proxied(unconfirmed_bytes_per_stream=100_000)
    for _ in range(20):
        broker.publish(stream, bytes(90_000), deadline_s=10)
    proxy.freeze()
    with pytest.raises(BrokerUnavailable):
        broker.publish(stream, bytes(90_000), deadline_s=0.2)
    proxy.cut()
    proxy.thaw()
    eventually(lambda: broker.ready(1), "the connection is back")
    for _ in range(20):
        broker.publish(stream, bytes(90_000), deadline_s=10)


def test_publishing_to_no_stream_says_so(broker: Broker, slug: str) -> None:
    for _ in range(3):
        with pytest.raises(StreamMissing):
            broker.publish(raw(slug), b"x", deadline_s=10)


def publishes(broker: Broker, stream: str) -> bool:
    try:
        broker.publish(stream, b"lost", deadline_s=10)
    except BrokerUnavailable:
        return False
    return True


def test_a_stream_that_was_deleted_is_missing_until_it_is_created_again(broker: Broker, stream: str) -> None:
    broker.publish(stream, b"before", deadline_s=10)
    broker.delete(stream)
    # The writer of a deleted stream may live, and confirm, for a moment longer (seen on 4.3).
    eventually(lambda: not publishes(broker, stream), "the stream's writer is gone")
    with pytest.raises(StreamMissing):
        broker.publish(stream, b"lost", deadline_s=10)
    broker.declare(stream, max_bytes=500_000_000, max_age_s=3600, segment_bytes=50_000_000)
    broker.publish(stream, b"after", deadline_s=10)
    assert contents(broker, stream) == [b"after"]


def test_three_hundred_streams_can_be_published_to_at_once(broker: Broker, slug: str) -> None:
    names = [f"{raw(slug)}-{number}" for number in range(300)]
    for name in names:
        broker.declare(name, max_bytes=10_000_000, max_age_s=3600, segment_bytes=1_000_000)
    try:
        for _ in range(2):
            with ThreadPoolExecutor(100) as pool:
                list(pool.map(lambda name: broker.publish(name, name.encode(), deadline_s=60), names))
        for name in names[::37]:
            assert contents(broker, name) == [name.encode()] * 2
    finally:
        for name in names:
            broker.delete(name)


def test_a_broker_carried_over_a_fork_refuses_to_work(broker: Broker, stream: str) -> None:
    broker.publish(stream, b"parent", deadline_s=10)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            broker.publish(stream, b"child", deadline_s=1)
        except ForeignProcess:
            broker.close()
            code = 0
        finally:
            os._exit(code)  # whatever happened: the child must not go on as a second pytest
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    broker.publish(stream, b"parent", deadline_s=10)


def stream_threads() -> int:
    return sum(thread.name == "streams" for thread in threading.enumerate())


def test_close_ends_the_thread_and_fails_whoever_waits(
    proxied: MakeBroker, proxy: Proxy, stream: str
) -> None:
    broker = proxied(heartbeat_s=30)
    broker.publish(stream, b"first", deadline_s=10)
    proxy.freeze()
    with ThreadPoolExecutor() as pool:
        waiting = pool.submit(broker.publish, stream, b"second", deadline_s=60)
        eventually(lambda: any(b"second" in sent for sent in proxy.sent), "it is sent")
        threads = stream_threads()
        broker.close()
        with pytest.raises(BrokerUnavailable):
            waiting.result(10)
    assert stream_threads() == threads - 1
    with pytest.raises(BrokerUnavailable, match="closed"):
        broker.publish(stream, b"third", deadline_s=1)


def test_nothing_is_kept_of_a_stream_that_was_deleted(
    broker: Broker, make_broker: MakeBroker, stream: str
) -> None:
    broker.publish(stream, b"one", deadline_s=10)
    running = broker._running
    assert running is not None
    assert stream in running.publisher._publishers
    make_broker().delete(stream)
    eventually(lambda: stream not in running.publisher._publishers, "the publisher to be forgotten")
    with pytest.raises(StreamMissing):
        broker.publish(stream, b"two", deadline_s=10)

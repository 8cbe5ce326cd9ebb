"""Following: every message once and in order, through whatever happens to the connection."""

import struct
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from streams import Broker, Chunk, Subscription, raw
from streams.connections import frames
from tests.contract.conftest import MakeBroker, eventually, sent_frames
from tests.proxy import Proxy


def drain(broker: Broker, subscription: Subscription) -> list[Chunk]:
    broker.wait(0.1)
    return subscription.take()


def hold(broker: Broker, subscription: Subscription, held: list[Chunk], count: int) -> None:
    """Takes chunks without giving back their credit until `count` are held."""

    def step() -> bool:
        held.extend(drain(broker, subscription))
        return len(held) >= count

    eventually(step, f"{count} chunks come")


def collect(
    broker: Broker,
    subscription: Subscription,
    until: int,
    seen: list[int],
    meanwhile: Callable[[], None] = lambda: None,
) -> None:
    """Takes messages that hold their own offset until offset `until` has come."""

    def step() -> bool:
        meanwhile()
        for chunk in drain(broker, subscription):
            for offset, message in enumerate(chunk.messages, chunk.first_offset):
                assert bytes(message) == b"%d" % offset
                seen.append(offset)
            subscription.done(chunk)
        return bool(seen) and seen[-1] >= until

    eventually(step, f"offset {until} comes; so far {seen[-1:]}")


def credits_given(proxy: Proxy) -> list[int]:
    """Chunks that each Credit frame allowed which went through the proxy."""
    return [struct.unpack_from(">H", frame, 5)[0] for frame in sent_frames(proxy, frames.CREDIT)]


@pytest.fixture
def published(broker: Broker, stream: str) -> Iterator[list[int]]:
    """A publisher in the background that publishes offsets as text, until the test ends."""
    offsets: list[int] = []
    stop = threading.Event()

    def publish() -> None:
        while not stop.is_set():
            portion = range(len(offsets), len(offsets) + 7)
            broker.publish_all(stream, [b"%d" % offset for offset in portion], deadline_s=30)
            offsets.extend(portion)
            stop.wait(0.01)  # slower than any follower, or it would fall behind for ever

    thread = threading.Thread(target=publish)
    thread.start()
    yield offsets
    stop.set()
    thread.join()


def test_a_follower_gets_every_message_from_its_offset_on(broker: Broker, stream: str) -> None:
    broker.publish_all(stream, [b"%d" % number for number in range(100)], deadline_s=10)
    subscription = broker.follow(stream, 37)
    seen: list[int] = []
    collect(broker, subscription, 99, seen)
    broker.publish_all(stream, [b"%d" % number for number in range(100, 150)], deadline_s=10)
    collect(broker, subscription, 149, seen)
    assert seen == list(range(37, 150))


def test_an_offset_that_does_not_exist_yet_is_waited_for(broker: Broker, stream: str) -> None:
    """Again and again, since 3.10.8 skips messages that are published while it looks for such an offset.

    A skip is noticed at the message after it, so there is always one more.
    """
    end = 0

    def publish_one() -> None:
        nonlocal end
        broker.publish(stream, b"%d" % end, deadline_s=10)
        end += 1

    for turn in range(60):
        first = end + 5
        subscription = broker.follow(stream, first)
        time.sleep(turn % 5 / 2000)
        for _ in range(9):
            publish_one()
        seen: list[int] = []
        collect(broker, subscription, end - 1, seen, meanwhile=publish_one)
        assert seen == list(range(first, seen[-1] + 1))
        subscription.close()


def test_following_resumes_after_cuts_without_gap_or_repeat(
    proxied: MakeBroker, proxy: Proxy, stream: str, published: list[int]
) -> None:
    follower = proxied()
    subscription = follower.follow(stream, 0)
    seen: list[int] = []
    for _ in range(8):
        collect(follower, subscription, len(published) + 20, seen)
        proxy.cut()
    collect(follower, subscription, len(published) + 20, seen)
    assert seen == list(range(seen[-1] + 1))


def test_a_frozen_connection_is_noticed_and_replaced(
    proxied: MakeBroker, proxy: Proxy, stream: str, published: list[int]
) -> None:
    follower = proxied()
    subscription = follower.follow(stream, 0)
    seen: list[int] = []
    collect(follower, subscription, 50, seen)
    connections = len(proxy.sent)
    proxy.freeze()
    eventually(lambda: len(proxy.sent) > connections, "the watchdog opens another connection")
    proxy.cut()
    proxy.thaw()
    collect(follower, subscription, len(published) + 50, seen)
    assert seen == list(range(seen[-1] + 1))


def test_a_damaged_chunk_is_not_delivered_but_asked_for_again(
    proxied: MakeBroker, proxy: Proxy, broker: Broker, stream: str
) -> None:
    follower = proxied()
    subscription = follower.follow(stream, 0)
    broker.publish_all(stream, [b"%d" % offset for offset in range(20)], deadline_s=10)
    seen: list[int] = []
    collect(follower, subscription, 19, seen)
    connections = len(proxy.sent)
    proxy.damage()
    broker.publish_all(stream, [b"%d" % offset for offset in range(20, 2000)], deadline_s=10)
    collect(follower, subscription, 1999, seen)
    assert seen == list(range(2000))
    assert len(proxy.sent) > connections


def test_no_more_chunks_are_held_than_there_is_credit(broker: Broker, stream: str) -> None:
    for number in range(20):
        broker.publish(stream, b"%d" % number, deadline_s=10)
    subscription = broker.follow(stream, 0, credit=2)
    held: list[Chunk] = []
    hold(broker, subscription, held, 2)
    for _ in range(5):
        # Whatever was sent before these answers would have come before them.
        broker.read(stream, 0, 19, deadline_s=10)
        held.extend(subscription.take())
    assert len(held) == 2
    subscription.done(held[0])
    hold(broker, subscription, held, 3)
    broker.read(stream, 0, 19, deadline_s=10)
    held.extend(subscription.take())
    assert [chunk.first_offset for chunk in held] == [0, 1, 2]


def test_credit_of_many_chunks_goes_back_in_one_frame(proxied: MakeBroker, proxy: Proxy, stream: str) -> None:
    broker = proxied(heartbeat_s=60)
    for number in range(3):
        broker.publish(stream, b"%d" % number, deadline_s=10)
    subscription = broker.follow(stream, 0, credit=16)
    seen: list[Chunk] = []
    hold(broker, subscription, seen, 3)
    for chunk in seen:
        subscription.done(chunk)
    for number in range(3, 40):
        broker.publish(stream, b"%d" % number, deadline_s=10)
    for count in (13, 16, 8):
        held: list[Chunk] = []
        hold(broker, subscription, held, count)
        subscription.done(*held)
        seen += held
    assert [chunk.first_offset for chunk in seen] == list(range(40))
    eventually(lambda: sum(credits_given(proxy)) == 15 + 40, "all that was held is given back")
    assert credits_given(proxy) == [15, 16, 16, 8]


def test_a_follower_that_keeps_most_of_its_credit_gets_the_rest(broker: Broker, stream: str) -> None:
    for number in range(10):
        broker.publish(stream, b"%d" % number, deadline_s=10)
    subscription = broker.follow(stream, 0, credit=4)
    held: list[Chunk] = []
    hold(broker, subscription, held, 4)
    for count in range(5, 11):
        subscription.done(held[-1])
        hold(broker, subscription, held, count)
    assert [chunk.first_offset for chunk in held] == list(range(10))


def test_chunks_that_are_held_over_a_cut_count_against_the_credit(
    proxied: MakeBroker, proxy: Proxy, stream: str
) -> None:
    broker = proxied()
    for number in range(10):
        broker.publish(stream, b"%d" % number, deadline_s=10)
    subscription = broker.follow(stream, 0, credit=2)
    held: list[Chunk] = []
    hold(broker, subscription, held, 2)
    before = len(proxy.sent)
    proxy.cut()
    eventually(lambda: len(proxy.sent) > before and broker.ready(1), "it is connected again")
    for _ in range(20):
        broker.read(stream, 0, 9, deadline_s=10)
        held.extend(drain(broker, subscription))
    assert [chunk.first_offset for chunk in held] == [0, 1]
    for chunk in held:
        subscription.done(chunk)
    seen: list[int] = []
    collect(broker, subscription, 9, seen)
    assert seen == list(range(2, 10))


def test_wait_names_the_subscriptions_that_have_got_something(broker: Broker, stream: str, slug: str) -> None:
    other = raw(f"{slug}-other")
    broker.declare(other, max_bytes=10_000_000, max_age_s=3600, segment_bytes=1_000_000)
    try:
        quiet, busy = broker.follow(stream, 0), broker.follow(other, 0)
        assert broker.wait(0.05) == []
        broker.publish(other, b"0", deadline_s=10)
        assert broker.wait(20) == [busy]
        assert [len(chunk.messages) for chunk in busy.take()] == [1]
        assert quiet.take() == []
        assert broker.wait(0.05) == []
    finally:
        broker.delete(other)


def test_a_deleted_stream_is_missing_to_its_follower(broker: Broker, stream: str, slug: str) -> None:
    broker.publish(stream, b"0", deadline_s=10)
    subscription = broker.follow(stream, 0)
    seen: list[int] = []
    collect(broker, subscription, 0, seen)
    broker.delete(stream)
    eventually(lambda: bool(drain(broker, subscription) or subscription.missing), "the follower is told")
    never = broker.follow(raw(f"{slug}-never"), 0)
    eventually(lambda: bool(never.take() or never.missing), "a follower of nothing is told")


def test_nothing_comes_after_close(broker: Broker, stream: str) -> None:
    """Closed at each moment of attaching: its answer and its end may come together."""
    for turn in range(200):
        subscription = broker.follow(stream, 0)
        time.sleep(turn / 40_000)
        subscription.close()
        broker.publish(stream, b"0", deadline_s=10)
        # Whatever was sent before this answer would have come before it.
        broker.read(stream, 0, turn, deadline_s=10)
        broker.wait(0)
        assert subscription.take() == []
        assert broker.wait(0) == []


def test_three_hundred_streams_can_be_followed_at_once(broker: Broker, stream: str) -> None:
    subscriptions = [broker.follow(stream, 0) for _ in range(300)]
    broker.publish(stream, b"0", deadline_s=30)
    waiting = set(subscriptions)

    def step() -> bool:
        for subscription in broker.wait(0.1):
            if subscription.take():
                waiting.discard(subscription)
        return not waiting

    eventually(step, "all of them get the message", within_s=60)
    for subscription in subscriptions:
        subscription.close()


def test_follow_keeps_up_when_done_is_called_much_later(broker: Broker, stream: str) -> None:
    subscription = broker.follow(stream, 0, credit=1)
    for number in range(5):
        broker.publish(stream, b"%d" % number, deadline_s=10)
    seen: list[int] = []
    deadline = time.monotonic() + 30
    while len(seen) < 5 and time.monotonic() < deadline:
        for chunk in drain(broker, subscription):
            seen.extend(range(chunk.first_offset, chunk.first_offset + len(chunk.messages)))
            assert drain(broker, subscription) == []
            subscription.done(chunk)
    assert seen == list(range(5))

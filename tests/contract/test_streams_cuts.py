"""What a publish means when the connection breaks under it."""

import time
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor, wait

import pytest

from streams import Broker
from streams.errors import BrokerUnavailable
from tests.contract.conftest import MakeBroker, contents, eventually
from tests.proxy import Proxy


def outcomes(waiting: dict[bytes, "Future[None]"]) -> tuple[set[bytes], set[bytes]]:
    """First bytes of the messages that were confirmed, and of those that were BrokerUnavailable."""
    wait(waiting.values(), timeout=60)
    failed = {mark for mark, future in waiting.items() if future.exception(0) is not None}
    assert all(isinstance(waiting[mark].exception(0), BrokerUnavailable) for mark in failed)
    return set(waiting) - failed, failed


def test_what_was_written_before_a_cut_is_unknown_at_once_and_never_sent_again(
    proxied: MakeBroker, proxy: Proxy, broker: Broker, stream: str
) -> None:
    cut_off = proxied(heartbeat_s=30)
    cut_off.publish(stream, b"first", deadline_s=10)
    proxy.swallow_answers()
    marks = [b"%02d" % number for number in range(20)]
    with ThreadPoolExecutor(20) as pool:
        waiting = {mark: pool.submit(cut_off.publish, stream, mark, deadline_s=60) for mark in marks}
        eventually(lambda: broker.last_offset(stream, deadline_s=10) == 20, "the broker has them all")
        started = time.monotonic()
        proxy.swallow_answers(False)
        proxy.cut()
        confirmed, failed = outcomes(waiting)
    assert time.monotonic() - started < 20
    assert (confirmed, failed) == (set(), set(marks))
    cut_off.publish(stream, b"last", deadline_s=10)
    assert sorted(contents(broker, stream)) == sorted([b"first", *marks, b"last"])


def test_what_was_not_written_before_a_cut_goes_out_over_the_next_connection(
    proxied: MakeBroker, proxy: Proxy, stream: str
) -> None:
    broker = proxied(heartbeat_s=30, unconfirmed_bytes_per_stream=60_000_000)
    broker.publish(stream, b"first", deadline_s=10)
    proxy.freeze()
    before = sum(map(len, proxy.sent))
    filling = bytes(500_000)
    with ThreadPoolExecutor(80) as pool:
        marks = [b"%02d" % number for number in range(80)]
        waiting = {mark: pool.submit(broker.publish, stream, mark + filling, deadline_s=60) for mark in marks}
        eventually(lambda: sum(map(len, proxy.sent)) > before + 1000, "the first ones are sent")
        proxy.cut()
        proxy.thaw()
        confirmed, failed = outcomes(waiting)
    assert confirmed
    assert failed
    kept = Counter(message[:2] for message in contents(broker, stream) if message != b"first")
    assert confirmed <= set(kept)
    assert max(kept.values()) == 1


def test_a_broker_that_is_known_to_be_away_is_unavailable_at_once(
    proxied: MakeBroker, proxy: Proxy, stream: str
) -> None:
    broker = proxied(backoff_min_s=5, backoff_max_s=20)
    broker.publish(stream, b"first", deadline_s=10)
    proxy.refuse()
    proxy.cut()
    with pytest.raises(BrokerUnavailable):
        broker.publish(stream, b"second", deadline_s=10)

    def known() -> bool:
        started = time.monotonic()
        with pytest.raises(BrokerUnavailable) as away:
            broker.publish(stream, b"third", deadline_s=10)
        return time.monotonic() - started < 0.5 and away.value.retry_after_s > 1

    eventually(known, "the broker is known to be away")
    attempts = proxy.refused
    for _ in range(20):
        with pytest.raises(BrokerUnavailable):
            broker.publish(stream, b"third", deadline_s=10)
    assert proxy.refused - attempts <= 2


def test_the_connection_comes_back_by_itself(proxied: MakeBroker, proxy: Proxy, stream: str) -> None:
    broker = proxied()
    broker.publish(stream, b"first", deadline_s=10)
    proxy.refuse()
    proxy.cut()
    before = len(proxy.sent)
    proxy.refuse(False)
    eventually(lambda: len(proxy.sent) > before, "somebody connects though nobody asked")
    broker.publish(stream, b"second", deadline_s=10)
    assert contents(broker, stream) == [b"first", b"second"]


def test_a_silent_connection_is_given_up_after_two_heartbeats(
    proxied: MakeBroker, proxy: Proxy, stream: str
) -> None:
    broker = proxied(heartbeat_s=1)
    broker.publish(stream, b"first", deadline_s=10)
    proxy.freeze()
    started = time.monotonic()
    with pytest.raises(BrokerUnavailable, match="silent"):
        broker.publish(stream, b"second", deadline_s=60)
    assert 1 < time.monotonic() - started < 20

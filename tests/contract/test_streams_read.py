"""Reading ranges: exactly what was asked for, or a clear word on why not."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from deploy.local.rabbitmq import RabbitNode
from streams import Broker, StreamSettings, raw
from streams.errors import BrokerUnavailable, StreamEnds, StreamMissing
from tests.contract.conftest import MakeBroker, eventually
from tests.proxy import Proxy


def fill(broker: Broker, stream: str, chunks: int, per_chunk: int, size: int = 10) -> None:
    """Messages that begin with their own offset."""
    for chunk in range(chunks):
        offsets = range(chunk * per_chunk, (chunk + 1) * per_chunk)
        broker.publish_all(stream, [b"%08d".ljust(size, b".") % offset for offset in offsets], deadline_s=20)


def offsets_read(broker: Broker, stream: str, first: int, last: int) -> list[int]:
    messages = broker.read(stream, first, last, deadline_s=20)
    assert [int(bytes(message.data[:8])) for message in messages] == [m.offset for m in messages]
    return [message.offset for message in messages]


@pytest.mark.parametrize("chunks", [1, 3, 100], ids="{} chunks".format)
def test_a_range_is_read_exactly_wherever_it_lies_in_its_chunks(
    broker: Broker, stream: str, chunks: int
) -> None:
    per_chunk = 600 // chunks
    fill(broker, stream, chunks, per_chunk)
    for first, last in ((0, 0), (0, 599), (599, 599), (1, 5), (per_chunk - 1, per_chunk), (250, 420)):
        last = min(last, 599)
        first = min(first, last)
        assert offsets_read(broker, stream, first, last) == list(range(first, last + 1))


def test_offsets_are_contiguous_over_segments(broker: Broker, slug: str) -> None:
    """Tried on 3.10.8: without names and stored offsets the broker writes no tracking entries of its own."""
    stream = raw(slug)
    broker.declare(stream, max_bytes=500_000_000, max_age_s=3600, segment_bytes=200_000)
    try:
        fill(broker, stream, chunks=40, per_chunk=25, size=2_000)
        assert offsets_read(broker, stream, 0, 999) == list(range(1000))
        assert offsets_read(broker, stream, 333, 777) == list(range(333, 778))
        assert broker.last_offset(stream, deadline_s=10) == 999
    finally:
        broker.delete(stream)


def test_a_read_below_the_retained_range_begins_at_the_oldest_message(broker: Broker, slug: str) -> None:
    stream = raw(slug)
    broker.declare(stream, max_bytes=400_000, max_age_s=3600, segment_bytes=100_000)
    try:
        published = 0

        def removed() -> bool:
            nonlocal published
            messages = [b"%08d".ljust(2_000, b".") % n for n in range(published, published + 25)]
            broker.publish_all(stream, messages, deadline_s=20)
            published += 25
            return (broker.first_offset(stream, deadline_s=10) or 0) > 100

        eventually(removed, "retention removes the oldest segments")
        first = broker.first_offset(stream, deadline_s=10)
        assert first is not None
        assert offsets_read(broker, stream, 0, first + 10) == list(range(first, first + 11))
        assert offsets_read(broker, stream, 0, first - 1) == []
    finally:
        broker.delete(stream)


def test_a_read_past_the_end_says_where_the_end_is(broker: Broker, stream: str) -> None:
    with pytest.raises(StreamEnds) as empty:
        broker.read(stream, 0, 0, deadline_s=20)
    assert empty.value.end is None
    fill(broker, stream, chunks=2, per_chunk=5)
    for first, last in ((0, 10), (9, 10), (10, 10), (1000, 1005)):
        with pytest.raises(StreamEnds) as ends:
            broker.read(stream, first, last, deadline_s=20)
        assert ends.value.end == 9


def test_an_empty_stream_has_no_first_and_no_last_offset(broker: Broker, stream: str) -> None:
    started = time.monotonic()
    assert broker.first_offset(stream, deadline_s=20) is None
    assert broker.last_offset(stream, deadline_s=20) is None
    assert time.monotonic() - started < 10
    broker.publish(stream, b"x", deadline_s=10)
    assert broker.first_offset(stream, deadline_s=20) == 0
    assert broker.last_offset(stream, deadline_s=20) == 0


def test_reading_no_stream_says_so(broker: Broker, slug: str) -> None:
    started = time.monotonic()
    with pytest.raises(StreamMissing):
        broker.read(raw(slug), 0, 1, deadline_s=20)
    with pytest.raises(StreamMissing):
        broker.last_offset(raw(slug), deadline_s=20)
    assert not broker.exists(raw(slug))
    assert time.monotonic() - started < 10


def test_a_message_that_comes_while_the_end_is_looked_up_is_not_the_end(broker: Broker, stream: str) -> None:
    """Published about when a reader gives up waiting and looks: it is read, or it was not there yet."""
    with ThreadPoolExecutor(1) as aside:
        for first in range(150):
            reading = aside.submit(broker.read_until, stream, first, lambda message: True, deadline_s=60)
            time.sleep(0.045 + first % 20 / 1000)
            broker.publish(stream, b"x", deadline_s=10)
            end = first - 1
            try:
                assert reading.result()[-1].offset == first
            except StreamEnds as ends:
                end = -1 if ends.end is None else ends.end
            assert end == first - 1


def test_a_read_that_gets_no_answer_is_unavailable_at_its_deadline(
    proxied: MakeBroker, proxy: Proxy, stream: str
) -> None:
    broker = proxied(heartbeat_s=30)
    fill(broker, stream, chunks=1, per_chunk=10)
    assert offsets_read(broker, stream, 0, 9) == list(range(10))
    proxy.freeze()
    for call in (
        lambda: broker.read(stream, 0, 9, deadline_s=0.3),
        lambda: broker.last_offset(stream, deadline_s=0.3),
    ):
        started = time.monotonic()
        with pytest.raises(BrokerUnavailable):
            call()
        assert time.monotonic() - started < 5
    assert not broker.ready(0.2)
    proxy.thaw()
    assert offsets_read(broker, stream, 0, 9) == list(range(10))


def test_ranges_of_several_streams_are_read_at_once_and_each_fails_alone(
    proxied: MakeBroker, proxy: Proxy, stream: str
) -> None:
    broker = proxied(heartbeat_s=30)
    fill(broker, stream, chunks=2, per_chunk=5)
    ranges = [(stream, 3, 7), (stream, 8, 12), (f"{stream}-none", 0, 1)]
    read, past_the_end, missing = broker.read_each(ranges, within_s=10)
    assert isinstance(read, list)
    assert [message.offset for message in read] == [3, 4, 5, 6, 7]
    assert isinstance(past_the_end, StreamEnds)
    assert isinstance(missing, StreamMissing)
    proxy.freeze()
    (silent,) = broker.read_each(ranges[:1], within_s=0.3)
    assert isinstance(silent, BrokerUnavailable)
    proxy.thaw()


def test_a_read_survives_a_cut_connection(proxied: MakeBroker, proxy: Proxy, stream: str) -> None:
    broker = proxied()
    fill(broker, stream, chunks=1, per_chunk=10)
    for _ in range(5):
        proxy.cut()
        assert offsets_read(broker, stream, 2, 7) == list(range(2, 8))


def test_each_connection_that_is_made_again_is_told(proxy: Proxy, rabbitmq: RabbitNode, stream: str) -> None:
    address, told = urlsplit(rabbitmq.stream_url), threading.Semaphore(0)
    url = rabbitmq.stream_url.replace(f":{address.port}", f":{proxy.port}")
    settings = StreamSettings(url=url, broker_url=rabbitmq.amqp_url, heartbeat_s=1, backoff_max_s=0.5)
    with closing(Broker(settings, reconnected=told.release)) as broker:
        assert broker.exists(stream)
        assert not told.acquire(timeout=0.1)
        proxy.cut()
        assert broker.exists(stream)
        assert told.acquire(timeout=30)


def test_more_reads_than_there_are_subscription_ids_need_no_more_connections(
    proxied: MakeBroker, proxy: Proxy, stream: str
) -> None:
    broker = proxied()
    fill(broker, stream, chunks=1, per_chunk=3)
    assert offsets_read(broker, stream, 1, 1) == [1]
    connections = len(proxy.sent)
    for _ in range(300):
        assert offsets_read(broker, stream, 1, 1) == [1]
    assert len(proxy.sent) == connections

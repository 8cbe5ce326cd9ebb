"""Following a stream whose beginning is gone."""

from collections.abc import Iterator

import pytest

from streams import Broker, Chunk, raw
from streams.connections.pool import Location, Pool
from tests.contract.conftest import MakeBroker, eventually
from tests.contract.test_streams_follow import collect, hold
from tests.proxy import Proxy


@pytest.fixture
def gapped(broker: Broker, slug: str) -> Iterator[str]:
    """A stream that retention has cut the beginning of; its messages are their offsets, in large chunks."""
    stream = raw(slug)
    broker.declare(stream, max_bytes=40_000, max_age_s=3600, segment_bytes=10_000)
    published = 0

    def removed() -> bool:
        nonlocal published
        broker.publish_all(stream, [b"%d" % n for n in range(published, published + 500)], deadline_s=20)
        published += 500
        return (broker.first_offset(stream, deadline_s=10) or 0) > 700

    eventually(removed, "retention removes the oldest segments")
    yield stream
    broker.delete(stream)


def test_a_follower_from_below_the_retained_range_begins_at_the_oldest(broker: Broker, gapped: str) -> None:
    first = broker.first_offset(gapped, deadline_s=10)
    last = broker.last_offset(gapped, deadline_s=10)
    assert first is not None
    assert last is not None
    seen: list[int] = []
    collect(broker, broker.follow(gapped, 3), last, seen)
    assert seen == list(range(first, last + 1))


def test_a_doubt_about_a_gap_does_not_spin_while_the_broker_is_away(
    proxied: MakeBroker, proxy: Proxy, broker: Broker, gapped: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = 0
    locate = Pool.locate

    async def counted(pool: Pool, stream: str) -> Location:
        nonlocal tries
        tries += 1
        return await locate(pool, stream)

    follower = proxied(heartbeat_s=30)
    assert follower.ready(10)
    first = broker.first_offset(gapped, deadline_s=10)
    assert first is not None
    monkeypatch.setattr(Pool, "locate", counted)
    proxy.leave_behind_an_answer()
    subscription = follower.follow(gapped, 3)
    eventually(lambda: proxy.refused >= 4, "the broker is asked for again and again")
    assert 2 <= tries < 100
    proxy.refuse(False)
    chunks: list[Chunk] = []
    hold(follower, subscription, chunks, 1)
    assert chunks[0].first_offset == first

"""How far a broker may send ahead of a dispatcher that is busy with the database."""

from streams import Broker, raw
from tasks.dispatcher.raw_streams.feed import CREDIT, MOST_CREDIT, Feed
from tests.whole import until

SENT = CREDIT + MOST_CREDIT + 20
BODY = b"no envelope, of some size" * 4


def sent_ahead(broker: Broker, slug: str, *, ahead_bytes: int, least: int) -> int:
    """How many chunks come, `least` or more, after a feed took the first ones, while it takes no others."""
    subscription = broker.follow(raw(slug), 0, credit=CREDIT)
    feed = Feed(
        customer_id=1,
        slug=slug,
        epoch=1,
        generation=0,
        next_offset=0,
        subscription=subscription,
        most_pending=10 * SENT,
    )

    def first() -> int:
        broker.wait(0.1)
        feed.collect(ahead_bytes)
        return len(feed.pending)

    until(first, "the first chunks")
    came = 0

    def more() -> bool:
        nonlocal came
        broker.wait(0.1)
        came += len(subscription.take())
        return came >= least

    until(more, f"{least} chunks", deadline_s=30)
    for _ in range(5):
        # Whatever was sent before these answers would have come before them.
        broker.read(raw(slug), 0, 3, deadline_s=10)
        came += len(subscription.take())
    feed.close()
    return came


def test_a_broker_sends_small_chunks_ahead_by_their_bytes(broker: Broker, slug: str) -> None:
    broker.declare(raw(slug), max_bytes=500_000_000, max_age_s=3600, segment_bytes=50_000_000)
    for _ in range(SENT):
        broker.publish(raw(slug), BODY, deadline_s=10)  # a chunk each
    # Less than half of the credit goes back only when there is no other.
    assert sent_ahead(broker, slug, ahead_bytes=0, least=CREDIT // 2) <= CREDIT
    assert sent_ahead(broker, slug, ahead_bytes=50 * len(BODY), least=CREDIT + 1) < MOST_CREDIT
    assert sent_ahead(broker, slug, ahead_bytes=1_000_000_000, least=MOST_CREDIT) == MOST_CREDIT
    broker.delete(raw(slug))

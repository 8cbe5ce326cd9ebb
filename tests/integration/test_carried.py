"""What a group's doorbell carries is decoded in place of what the raw streams have, if it is the same."""

from functools import partial

from sqlalchemy import Engine

from db.customers.rows import Customer
from streams import Broker, raw
from streams.messages.fingerprint import fingerprint
from tasks.carried import MOST_BYTES, pack, unpack
from tasks.dispatcher.raw_streams.feed import CREDIT, Feed, KeptMessages
from tasks.stages import group
from tasks.stages.context import Context
from tests.envelopes import envelope
from tests.integration.ledger_rows import NOW_US, claim, new_window, record
from tests.integration.test_groups import EVENTS, FIRST, context, customers, good, rung, state, stored
from tests.whole import until

__all__ = ["context", "customers"]
MESSAGE = 1_000


def message(customer: Customer, *, accepted_at_us: int = NOW_US) -> bytes:
    return envelope(customer.slug, "batch-0", good(), accepted_at_us=accepted_at_us)


def recorded(engine: Engine, customer: Customer) -> int:
    """A window of this batch, which is in no stream."""
    fingerprints = fingerprint(message(customer))
    window = new_window(0, 0, pipeline_version=2, fingerprints=fingerprints)
    return record(engine, customer, claim(engine, customer), 0, 0, window=window)


def test_windows_that_are_carried_are_deposited_without_their_streams(
    context: Context, customers: list[Customer]
) -> None:
    windows = {recorded(context.engine, customer): customer for customer in customers}
    carried = pack((window, {0: message(customer)}) for window, customer in windows.items())

    group.run(context, list(windows), FIRST, carried)

    assert [state(context.engine, each) for each in windows] == [("deposited", EVENTS)] * 3
    expected = stored(context.engine, customers[0])
    assert all(expected[name] for name in ("interactions", "rollups", "events"))
    assert all(stored(context.engine, customer) == expected for customer in customers)


def test_what_is_not_as_recorded_or_not_whole_is_read_from_the_streams(
    context: Context, customers: list[Customer]
) -> None:
    engine = context.engine
    for customer in customers[1:]:
        context.broker.publish(raw(customer.slug), message(customer), deadline_s=20)
    windows = [recorded(engine, customer) for customer in customers]
    other, missing, whole = customers
    carried = pack(
        [
            (windows[0], {0: message(other, accepted_at_us=NOW_US + 1)}),
            (windows[1], {1: message(missing)}),
            (windows[2], {0: message(whole)}),
        ]
    )

    group.run(context, windows, FIRST, carried)

    assert [state(engine, each)[0] for each in windows] == ["dispatched", "deposited", "deposited"]
    assert rung(context, other) == ["decode_process"]


def test_a_doorbell_carries_no_more_than_its_bound() -> None:
    half = {7: bytes(MOST_BYTES // 2)}
    assert unpack(pack([(1, half), (2, {3: bytes(MOST_BYTES)}), (3, {}), (4, half), (5, half)])) == {
        1: half,
        4: half,
    }
    assert unpack(pack([])) == {}


def test_feeds_keep_messages_within_their_bounds(broker: Broker, slug: str) -> None:
    broker.declare(raw(slug), max_bytes=500_000_000, max_age_s=3600, segment_bytes=50_000_000)
    messages = [
        envelope(slug, f"batch-{each}", bytes(MESSAGE), accepted_at_us=NOW_US, discarded=each == 1)
        for each in range(10)
    ]
    broker.publish_all(raw(slug), messages, deadline_s=20)
    size = len(messages[0])
    kept = KeptMessages(most_bytes=6 * size, most_of_feed=4 * size)

    def followed() -> Feed:
        feed = Feed(
            customer_id=1,
            slug=slug,
            epoch=1,
            generation=0,
            next_offset=0,
            subscription=broker.follow(raw(slug), 0, credit=CREDIT),
            most_pending=100,
            kept=kept,
        )
        until(partial(_all_came, broker, feed, len(messages)), "all messages")
        return feed

    one = followed()
    # The one that was discarded has no body, and its message is not needed.
    assert [batch.message for batch in one.pending] == [
        *(messages[0], b"", *messages[2:5]),
        *([b""] * 5),
    ]
    other = followed()
    assert sum(map(bool, (batch.message for batch in other.pending))) == 2
    assert kept.bytes == 6 * size
    one.recorded(3, 3)
    assert kept.bytes == 4 * size
    one.close()
    other.close()
    assert kept.bytes == 0
    broker.delete(raw(slug))


def _all_came(broker: Broker, feed: Feed, count: int) -> bool:
    broker.wait(0.1)
    feed.collect()
    return len(feed.pending) == count

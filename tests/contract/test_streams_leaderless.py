"""A stream without leader: nobody waits for it for as long as for a broker."""

import secrets

import pytest

from bench.installation.leaderless import leaderless
from deploy.local.rabbitmq import RabbitNode
from streams import Broker, raw
from streams.errors import BrokerUnavailable
from tests.whole import until

HOURS_S = 3 * 3600.0


def test_reading_a_stream_that_stays_without_leader_is_given_up_long_before_the_deadline(
    broker: Broker, rabbitmq: RabbitNode, stream: str
) -> None:
    broker.publish(stream, b"kept", deadline_s=20)
    with leaderless(rabbitmq, stream):
        for ask in (
            lambda: broker.read(stream, 0, 0, deadline_s=HOURS_S),
            lambda: broker.last_offset(stream, deadline_s=HOURS_S),
            lambda: broker.read_until(stream, 0, lambda _: True, deadline_s=HOURS_S),
        ):
            with pytest.raises(BrokerUnavailable):
                ask()
    assert [bytes(message.data) for message in broker.read(stream, 0, 0, deadline_s=60)] == [b"kept"]


def test_a_stream_that_ends_the_connections_of_who_reads_it_costs_the_followers_of_others_nothing(
    broker: Broker, rabbitmq: RabbitNode, stream: str, slug: str
) -> None:
    other = raw(f"{slug}-other")
    broker.declare(other, max_bytes=10_000_000, max_age_s=3600, segment_bytes=1_000_000)
    for each in (stream, other):
        broker.publish(each, b"first", deadline_s=20)
    well, broken = broker.follow(other, 0), broker.follow(stream, 0)
    until(lambda: well.next_offset == broken.next_offset == 1, "both followers to have the first message")
    with leaderless(rabbitmq, stream, led_for_moments=True):
        for _ in range(2):
            with pytest.raises(BrokerUnavailable):
                broker.read(stream, 0, 0, deadline_s=HOURS_S)
        until(lambda: broken.losses > 1, "the follower of the broken stream to have tried again")
        broker.publish(other, b"second", deadline_s=20)
        until(lambda: well.next_offset == 2, "the other's second message")
        assert (well.losses, well.missing) == (0, False)
    until(lambda: published(broker, stream), "the stream that came back to take a message")
    until(lambda: broken.next_offset >= 2, "the follower of the stream that came back to go on")
    assert (well.losses, well.missing) == (0, False)
    broker.delete(other)


def published(broker: Broker, stream: str) -> bool:
    try:
        broker.publish(stream, secrets.token_bytes(8), deadline_s=20)
    except BrokerUnavailable:
        return False
    return True

"""Declaring: a stream is what was asked for, or somebody is told."""

import pytest
from kombu import Connection

from deploy.local.rabbitmq import RabbitNode
from streams import Broker, WantedStream, declaring, raw
from streams.errors import BrokerMisconfigured, BrokerUnavailable
from tests.contract.conftest import MakeBroker

WANTED = {"max_bytes": 10_000_000, "max_age_s": 3600, "segment_bytes": 1_000_000}


@pytest.fixture
def name(broker: Broker, slug: str) -> str:
    return raw(slug)


def test_declaring_twice_is_declaring_once(broker: Broker, name: str) -> None:
    broker.declare(name, **WANTED)
    broker.publish(name, b"kept", deadline_s=10)
    broker.declare(name, **WANTED)
    assert broker.exists(name)
    assert broker.last_offset(name, deadline_s=10) == 0
    broker.delete(name)
    assert not broker.exists(name)
    broker.delete(name)


@pytest.mark.parametrize("argument", list(WANTED))
def test_an_existing_stream_with_another_argument_is_refused(
    broker: Broker, name: str, argument: str
) -> None:
    broker.declare(name, **WANTED)
    with pytest.raises(BrokerMisconfigured, match=name):
        broker.declare(name, **(WANTED | {argument: WANTED[argument] + 1}))
    broker.delete(name)


def test_an_argument_that_the_broker_ignored_is_found_out(
    broker: Broker, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream protocol takes any argument's name and says OK; this is the typo nobody notices."""
    monkeypatch.setattr(declaring, "MAX_AGE", "max-agee")
    with pytest.raises(BrokerMisconfigured, match="x-max-age"):
        broker.declare(name, **WANTED)
    broker.delete(name)


def test_the_retention_is_what_other_clients_see(broker: Broker, name: str, rabbitmq: RabbitNode) -> None:
    broker.declare(name, **WANTED)
    arguments = {
        "x-queue-type": "stream",
        "x-max-length-bytes": 10_000_000,
        "x-max-age": "3600s",
        "x-stream-max-segment-size-bytes": 1_000_000,
    }
    with Connection(rabbitmq.amqp_url) as connection:
        connection.channel().queue_declare(name, durable=True, auto_delete=False, arguments=arguments)
    broker.delete(name)


def test_without_amqp_a_stream_cannot_be_verified_and_nobody_pretends(
    make_broker: MakeBroker, broker: Broker, name: str
) -> None:
    blind = make_broker(broker_url="amqp://guest:guest@127.0.0.1:1//", connect_timeout_s=2)
    with pytest.raises(BrokerUnavailable):
        blind.declare(name, **WANTED)
    broker.delete(name)


def test_of_many_streams_each_fails_for_itself(broker: Broker, slug: str) -> None:
    wanted = [WantedStream(name=raw(f"{slug}-{number}"), **WANTED) for number in range(20)]
    broker.declare(wanted[7].name, **(WANTED | {"max_age_s": 60}))
    failed = broker.declare_all(wanted)
    assert list(failed) == [wanted[7].name]
    assert isinstance(failed[wanted[7].name], BrokerMisconfigured)
    for one in wanted:
        assert broker.exists(one.name)
        broker.delete(one.name)


def test_of_many_streams_none_is_called_verified_without_amqp(make_broker: MakeBroker, slug: str) -> None:
    blind = make_broker(broker_url="amqp://guest:guest@127.0.0.1:1//", connect_timeout_s=2)
    wanted = [WantedStream(name=raw(f"{slug}-{number}"), **WANTED) for number in range(3)]
    failed = blind.declare_all(wanted)
    assert set(failed) == {one.name for one in wanted}
    assert all(isinstance(error, BrokerUnavailable) for error in failed.values())
    for one in wanted:
        blind.delete(one.name)

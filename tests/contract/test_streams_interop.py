"""Other clients read what we write: an envelope is an ordinary message."""

import asyncio
import hashlib
from typing import Any
from urllib.parse import urlsplit

import pytest
from kombu import Connection
from rstream import Consumer, ConsumerOffsetSpecification, OffsetType, Producer
from rstream.amqp import AMQPMessage, amqp_decoder
from rstream.compression import CompressionType, NoneCompressionCodec

from deploy.local.rabbitmq import RabbitNode
from streams import Broker, Envelope, encode_envelope, encode_result
from streams.address import parse
from streams.errors import StreamMissing, UnfitMessage

BODY = b"\x00\xffnot text" * 100
ENVELOPE = Envelope(
    batch_id="batch-1",
    customer="acme",
    agent="agent-7",
    format="arrow",
    content_type="application/vnd.apache.arrow.stream",
    content_encoding="zstd",
    accepted_at_us=1_700_000_000_123_456,
    digest=hashlib.sha256(BODY).digest(),
    body=BODY,
)


def test_rstreams_own_consumer_reads_an_envelope(broker: Broker, stream: str, rabbitmq: RabbitNode) -> None:
    broker.publish(stream, encode_envelope(ENVELOPE), deadline_s=10)
    [message] = asyncio.run(_consume(rabbitmq.stream_url, stream, 1))
    assert message.body == BODY
    assert message.properties.message_id == b"batch-1"
    assert message.properties.content_type == b"application/vnd.apache.arrow.stream"
    assert message.properties.content_encoding == b"zstd"
    assert message.properties.creation_time == 1_700_000_000_123
    assert message.application_properties[b"customer"] == b"acme"
    assert message.application_properties[b"accepted_at_us"] == 1_700_000_000_123_456
    assert message.application_properties[b"digest"] == ENVELOPE.digest


def test_an_amqp_091_consumer_reads_an_envelope_and_a_result(
    broker: Broker, stream: str, rabbitmq: RabbitNode
) -> None:
    broker.publish_all(stream, [encode_envelope(ENVELOPE), encode_result(7, "acme", b"rows")], deadline_s=10)
    received: list[Any] = []
    with Connection(rabbitmq.amqp_url) as connection:
        channel = connection.channel()
        channel.basic_qos(0, 10, False)
        channel.basic_consume(stream, callback=received.append, arguments={"x-stream-offset": "first"})
        while len(received) < 2:
            connection.drain_events(timeout=20)
    envelope, result = received
    assert envelope.body == BODY
    assert envelope.properties["message_id"] == "batch-1"
    assert envelope.properties["content_type"] == "application/vnd.apache.arrow.stream"
    headers = envelope.properties["application_headers"]
    assert (headers["customer"], headers["agent"], headers["format"]) == ("acme", "agent-7", "arrow")
    assert headers["accepted_at_us"] == 1_700_000_000_123_456
    assert result.body == b"rows"


def test_sub_batches_of_other_publishers_are_read_plain_and_gzipped(
    broker: Broker, stream: str, rabbitmq: RabbitNode
) -> None:
    asyncio.run(_produce_sub_batches(rabbitmq.stream_url, stream))
    messages = broker.read(stream, 0, 19, deadline_s=10)
    assert [amqp_decoder(bytes(message.data)).body for message in messages] == [b"%d" % n for n in range(20)]
    assert [message.offset for message in messages] == list(range(20))
    assert [m.offset for m in broker.read(stream, 7, 13, deadline_s=10)] == list(range(7, 14))


def test_a_sub_batch_that_cannot_be_read_spoils_no_other_stream(
    broker: Broker, stream: str, rabbitmq: RabbitNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NoneCompressionCodec, "compression_type", lambda _: CompressionType.Zstd.value)
    asyncio.run(_produce_sub_batches(rabbitmq.stream_url, stream))
    unfit, missing = broker.read_each([(stream, 0, 9), (f"{stream}-none", 0, 1)], within_s=10)
    assert isinstance(unfit, UnfitMessage)
    assert isinstance(missing, StreamMissing)


async def _consume(url: str, stream: str, count: int) -> list[AMQPMessage]:
    address = parse(url)
    messages: list[AMQPMessage] = []
    enough = asyncio.Event()

    def take(message: AMQPMessage, _: object) -> None:
        messages.append(message)
        if len(messages) == count:
            enough.set()

    consumer = Consumer(
        address.nodes[0].host, address.nodes[0].port, username=address.user, password=address.password
    )
    async with consumer:
        await consumer.subscribe(
            stream,
            take,
            decoder=amqp_decoder,
            offset_specification=ConsumerOffsetSpecification(OffsetType.FIRST),
        )
        await asyncio.wait_for(enough.wait(), 20)
    return messages


async def _produce_sub_batches(url: str, stream: str) -> None:
    address = parse(url)
    assert urlsplit(url).port == address.nodes[0].port
    producer = Producer(
        address.nodes[0].host, address.nodes[0].port, username=address.user, password=address.password
    )
    async with producer:
        for first, compression in ((0, CompressionType.No), (10, CompressionType.Gzip)):
            messages = [AMQPMessage(body=b"%d" % number) for number in range(first, first + 10)]
            await producer.send_sub_entry(stream, messages, compression_type=compression)

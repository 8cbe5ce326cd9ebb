"""RabbitMQ streams: names, envelope, publishing with confirms, reading by offset, following, declaring.

The only room with asyncio and rstream in it; both stay behind `Broker`.
"""

from streams.broker import Broker
from streams.declaring import WantedStream
from streams.messages.batch_ids import made_id, other_id
from streams.messages.chunk import Chunk, Message
from streams.messages.envelope import Envelope, decode_envelope, encode_envelope
from streams.messages.result import Result, decode_result, encode_result
from streams.names import processed, raw
from streams.reading.subscription import Subscription
from streams.settings import StreamSettings

__all__ = [
    "Broker",
    "Chunk",
    "Envelope",
    "Message",
    "Result",
    "StreamSettings",
    "Subscription",
    "WantedStream",
    "decode_envelope",
    "decode_result",
    "encode_envelope",
    "encode_result",
    "made_id",
    "other_id",
    "processed",
    "raw",
]

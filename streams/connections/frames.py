"""The frames of RabbitMQ's stream protocol that carry messages, read and written without copies.

Sources: PROTOCOL.adoc of the rabbitmq_stream plugin, and the chunk format in osiris' osiris_log.erl.
All other frames go through rstream's codec.
"""

import struct
import zlib
from collections.abc import Iterable
from typing import NamedTuple

from streams.errors import UnfitMessage

PUBLISH, PUBLISH_CONFIRM, PUBLISH_ERROR, DELIVER, CREDIT = 2, 3, 4, 8, 9
USER_CHUNK = 0

# size, key, version, publisher id, number of messages
_PUBLISH_HEAD = struct.Struct(">IHHBI")
_PUBLISH_ENTRY = struct.Struct(">QI")
# key, version, publisher id, number of ids
_CONFIRM_HEAD = struct.Struct(">HHBI")
_ERROR_ENTRY = struct.Struct(">QH")
# key, version, subscription id | magic and version, chunk type, entries, records, timestamp ms, epoch,
# first offset, crc, data length, trailer length, reserved (a filter's size in newer brokers)
_DELIVER_HEAD = struct.Struct(">HHB BBHIqQQIIII")
_SUB_BATCH_HEAD = struct.Struct(">BHII")
_LENGTH = struct.Struct(">I")
# size, key, version, subscription id, chunks
_CREDIT = struct.Struct(">IHHBH")

PUBLISH_OVERHEAD = _PUBLISH_HEAD.size + _PUBLISH_ENTRY.size
DELIVER_OVERHEAD = _DELIVER_HEAD.size + _LENGTH.size
ENTRY_OVERHEAD = _PUBLISH_ENTRY.size


class DeliveredChunk(NamedTuple):
    """A chunk as it came: `messages` are slices of the frame; `next_offset` is the one after the chunk."""

    first_offset: int
    next_offset: int
    timestamp_ms: int
    messages: list[memoryview]
    size: int


def encode_publish(publisher_id: int, first_id: int, messages: list[bytes]) -> bytes:
    """One Publish frame whose messages have consecutive publishing ids from `first_id`."""
    parts: list[bytes] = [b""]
    entry = _PUBLISH_ENTRY.pack
    size = _PUBLISH_HEAD.size - 4
    for publishing_id, message in enumerate(messages, first_id):
        length = len(message)
        parts.append(entry(publishing_id, length))
        parts.append(message)
        size += length + ENTRY_OVERHEAD
    parts[0] = _PUBLISH_HEAD.pack(size, PUBLISH, 1, publisher_id, len(messages))
    return b"".join(parts)


def encode_credit(subscription_id: int, chunks: int) -> bytes:
    """A Credit frame: the broker may send that many chunks more."""
    return _CREDIT.pack(_CREDIT.size - 4, CREDIT, 1, subscription_id, chunks)


def decode_confirm(frame: memoryview) -> tuple[int, Iterable[int]]:
    """Publisher id and the confirmed publishing ids."""
    _, _, publisher_id, count = _CONFIRM_HEAD.unpack_from(frame)
    return publisher_id, struct.unpack_from(f">{count}Q", frame, _CONFIRM_HEAD.size)


def decode_publish_error(frame: memoryview) -> tuple[int, list[tuple[int, int]]]:
    """Publisher id and (publishing id, response code) of each refused message."""
    _, _, publisher_id, count = _CONFIRM_HEAD.unpack_from(frame)
    start = _CONFIRM_HEAD.size
    return publisher_id, [
        _ERROR_ENTRY.unpack_from(frame, start + i * _ERROR_ENTRY.size) for i in range(count)
    ]


def subscription_of(frame: memoryview) -> int:
    """Subscription id of a Deliver frame."""
    return frame[4]


def decode_deliver(frame: memoryview) -> DeliveredChunk:
    """Raises ValueError for a damaged chunk, UnfitMessage for a publisher's compression that we lack."""
    head = _DELIVER_HEAD.unpack_from(frame)
    _, _, _, _, kind, entries, records, timestamp, _, first, crc, length, _, _ = head
    data = frame[_DELIVER_HEAD.size : _DELIVER_HEAD.size + length]
    if len(data) != length:
        raise ValueError(f"chunk at offset {first} is cut short: {len(data)} of {length} bytes")
    if zlib.crc32(data) != crc:
        raise ValueError(f"chunk at offset {first} does not match its checksum")
    messages = _split(data, entries) if kind == USER_CHUNK else []
    if kind == USER_CHUNK and len(messages) != records:
        raise ValueError(f"chunk at offset {first} holds {len(messages)} messages, its header says {records}")
    return DeliveredChunk(first, first + records, timestamp, messages, length)


def _split(data: memoryview, entries: int) -> list[memoryview]:
    messages: list[memoryview] = []
    unpack = _LENGTH.unpack_from
    position = 0
    for _ in range(entries):
        (length,) = unpack(data, position)
        if length & 0x80000000:
            position = _split_sub_batch(data, position, messages)
            continue
        start = position + 4
        position = start + length
        messages.append(data[start:position])
    if position != len(data):
        raise ValueError(f"chunk's entries end at byte {position} of {len(data)}")
    return messages


def _split_sub_batch(data: memoryview, position: int, messages: list[memoryview]) -> int:
    kind, records, plain_length, length = _SUB_BATCH_HEAD.unpack_from(data, position)
    start = position + _SUB_BATCH_HEAD.size
    inner = data[start : start + length]
    compression = (kind & 0x70) >> 4
    if compression == 1:
        inflater = zlib.decompressobj(wbits=31)
        inner = memoryview(inflater.decompress(inner, plain_length))
        if len(inner) != plain_length:
            raise UnfitMessage(f"a gzip sub-batch holds {len(inner)} bytes, not {plain_length}")
    elif compression != 0:
        raise UnfitMessage(f"a sub-batch uses compression {compression}; only none (0) and gzip (1) are read")
    messages.extend(_split(inner, records))
    end: int = start + length
    return end

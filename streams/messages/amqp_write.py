"""Writes the sections of an AMQP 1.0 message that we use; amqp_read takes them apart.

Source: OASIS AMQP 1.0, part 1 (types) and part 3.2 (message format). By hand, since a general codec costs
several times as much per message, and every batch goes through here twice.
"""

import struct

_NULL = b"\x40"

_U32, _U64, _I64, _PAIR32 = (
    struct.Struct(">I"),
    struct.Struct(">Q"),
    struct.Struct(">q"),
    struct.Struct(">II"),
)


def string(text: str) -> bytes:
    """str8 or str32."""
    data = text.encode()
    if len(data) < 256:
        return b"\xa1" + len(data).to_bytes(1) + data
    return b"\xb1" + _U32.pack(len(data)) + data


def symbol(text: str) -> bytes:
    """sym8 or sym32; an empty text is null."""
    if not text:
        return _NULL
    data = text.encode("ascii")
    if len(data) < 256:
        return b"\xa3" + len(data).to_bytes(1) + data
    return b"\xb3" + _U32.pack(len(data)) + data


def binary8(data: bytes) -> bytes:
    """At most 255 bytes."""
    return b"\xa0" + len(data).to_bytes(1) + data


def long(value: int) -> bytes:
    return b"\x81" + _I64.pack(value)


def ulong(value: int) -> bytes:
    return b"\x80" + _U64.pack(value)


def timestamp(ms: int) -> bytes:
    return b"\x83" + _I64.pack(ms)


def boolean(value: bool) -> bytes:
    return b"\x41" if value else b"\x42"


def properties(
    message_id: bytes, content_type: str, content_encoding: str, creation_time_ms: int | None
) -> bytes:
    """The properties section; `message_id` is an encoded value."""
    # user-id, to, subject, reply-to and correlation-id come between, absolute-expiry before the time
    fields = b"".join(
        (
            message_id,
            b"\x40\x40\x40\x40\x40",
            symbol(content_type),
            symbol(content_encoding),
            _NULL,
            _NULL if creation_time_ms is None else timestamp(creation_time_ms),
        )
    )
    if len(fields) < 255:
        return b"\x00\x53\x73\xc0" + bytes((len(fields) + 1, 10)) + fields
    return b"\x00\x53\x73\xd0" + _PAIR32.pack(len(fields) + 4, 10) + fields


def application_properties(pairs: bytes, count: int) -> bytes:
    """`pairs`: `count` encoded string keys, each followed by its encoded value."""
    if len(pairs) < 255:
        return b"\x00\x53\x74\xc1" + bytes((len(pairs) + 1, 2 * count)) + pairs
    return b"\x00\x53\x74\xd1" + _PAIR32.pack(len(pairs) + 4, 2 * count) + pairs


def data_head(length: int) -> bytes:
    """What stands before the bytes of a data section."""
    return b"\x00\x53\x75\xb0" + _U32.pack(length)

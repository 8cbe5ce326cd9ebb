"""Where the messages of an Arrow IPC stream lie, without pyarrow: for streams that are as nearly all are.

Source: the Arrow columnar format, "Serialization and Interprocess Communication".
"""

import struct
from dataclasses import dataclass
from typing import Final

from tasks.decoders.arrow.flatbuffer import I32, I64, U8, U32, at, follow, number
from tasks.decoders.arrow.message_bounds import HEADER, HEADER_TYPE, LENGTH, RECORDS, claims
from tasks.decoders.arrow.schema_types import NEW_FORMAT, SCHEMA
from tasks.decoders.contract import DecodeLimits

BODY_LENGTH: Final = 3  # field of Message
PREFIX: Final = 8  # bytes: the mark of a message, and how many bytes of metadata follow
ALIGNED: Final = 8  # bytes; Arrow's writers pad every part to that


@dataclass(frozen=True, slots=True)
class Framed:
    """A stream of a schema and record batches, nothing else."""

    schema: bytes  # its message
    records: memoryview  # the messages of its record batches, as they lie there
    rows: list[int]  # of each record batch
    size: int  # what its buffers take, unpacked


def framed(data: bytes, limits: DecodeLimits) -> Framed | None:
    """None for streams of any other build, for those that are broken, and for those that pass a bound."""
    view = memoryview(data)
    try:
        kind, _, first = _message(view, 0)
        if kind != SCHEMA:
            return None
        place, rows, size = first, [0] * 0, 0
        while place < len(view) and I64.unpack_from(view, place)[0] != NEW_FORMAT:  # the end: no metadata
            kind, metadata, end = _message(view, place)
            header = follow(metadata, at(U32, metadata, 0), HEADER)
            if kind != RECORDS or header is None:
                return None
            rows.append(number(I64, metadata, header, LENGTH))
            size += sum(claims(metadata, header, view[place + PREFIX + len(metadata) : end]))
            place = end
            if not 0 <= rows[-1] <= limits.events or size > limits.decompressed_bytes:
                return None
    except (struct.error, ValueError):
        return None
    if place + PREFIX < len(view) or sum(rows) > limits.events or first % ALIGNED or place % ALIGNED:
        return None
    return Framed(bytes(view[:first]), view[first:place], rows, size)


def _message(view: memoryview, place: int) -> tuple[int, memoryview, int]:
    """The header's type, the metadata, and where the message ends. Raises ValueError and struct.error."""
    if at(U32, view, place) != NEW_FORMAT:
        raise ValueError("an old mark")
    size = at(I32, view, place + 4)
    metadata = view[place + PREFIX : place + PREFIX + size]
    if size <= 0 or len(metadata) != size:
        raise ValueError("no metadata")
    message = at(U32, metadata, 0)
    body = number(I64, metadata, message, BODY_LENGTH)
    end = place + PREFIX + size + body
    if body < 0 or end > len(view):
        raise ValueError("no body")
    return number(U8, metadata, message, HEADER_TYPE), metadata, end

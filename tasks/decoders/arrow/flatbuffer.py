"""The little of flatbuffers that is needed to read Arrow's metadata; their layout: FlatBuffers' "Internals".

All raise struct.error for places outside of the metadata.
"""

import struct
from collections.abc import Iterator
from typing import Any, Final

U8: Final = struct.Struct("<B")
U16: Final = struct.Struct("<H")
I32: Final = struct.Struct("<i")
U32: Final = struct.Struct("<I")
I64: Final = struct.Struct("<q")


def at(form: struct.Struct, data: Any, place: int) -> int:
    if place < 0:
        raise struct.error("an offset before the beginning")
    return int(form.unpack_from(data, place)[0])


def field(metadata: Any, table: int, index: int) -> int:
    """Where the value of a table's field of that number is, 0 when it is left out."""
    fields = table - at(I32, metadata, table)
    if 4 + 2 * index >= at(U16, metadata, fields):
        return 0
    offset = at(U16, metadata, fields + 4 + 2 * index)
    return table + offset if offset else 0


def number(form: struct.Struct, metadata: Any, table: int, index: int) -> int:
    place = field(metadata, table, index)
    return at(form, metadata, place) if place else 0


def follow(metadata: Any, table: int, index: int) -> int | None:
    place = field(metadata, table, index)
    return place + at(U32, metadata, place) if place else None


def tables(metadata: Any, table: int, index: int) -> Iterator[int]:
    """Where the tables are that a field of a table lists."""
    vector = follow(metadata, table, index)
    if vector is None:
        return
    for place in range(vector + 4, vector + 4 + 4 * at(U32, metadata, vector), 4):
        yield place + at(U32, metadata, place)


def text(metadata: Any, table: int, index: int) -> bytes:
    """A field's string, empty when it is left out."""
    place = follow(metadata, table, index)
    if place is None:
        return b""
    return bytes(metadata[place + 4 : place + 4 + at(U32, metadata, place)])

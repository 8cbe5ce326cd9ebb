"""The types in the schema of an Arrow IPC stream, written over in place.

What the schema calls text is bytes of the same layout, and what it calls a map is a list. So a stream that
pyarrow refuses, for a text that is not UTF-8 or a key that is null, can be read when its schema promises
less; and rows of it can be written with the types that their sender gave them, though no array can hold them.
Source: Schema.fbs.
"""

import struct
from collections.abc import Collection, Iterator
from typing import Any, Final

from tasks.decoders.arrow.flatbuffer import I32, U8, U32, at, field, follow, number, tables, text

SCHEMA: Final = 1  # Message.header_type
HEADER_TYPE, HEADER = 1, 2  # fields of Message
FIELDS: Final = 1  # field of Schema
NAME, TYPE, CHILDREN, METADATA = 0, 2, 5, 6  # fields of Field
KEY: Final = 0  # field of KeyValue
EXTENSION: Final = b"ARROW:extension:name"  # its storage is looked at by whoever registered it
NEW_FORMAT: Final = 0xFFFFFFFF  # stands before a message's length; before 0.15 nothing did
UTF8, LARGE_UTF8, UTF8_VIEW, MAP = 5, 20, 24, 17  # Type
BINARY, LARGE_BINARY, BINARY_VIEW, LIST = 4, 19, 23, 12
LOOSE: Final = {UTF8: BINARY, LARGE_UTF8: LARGE_BINARY, UTF8_VIEW: BINARY_VIEW, MAP: LIST}
MOST_TYPES: Final = 3_000_000  # more than a batch may have values


def loosened(stream: bytes, columns: Collection[str]) -> tuple[bytes, list[int]]:
    """The stream with bytes for text and lists for maps in these columns; the types that they had.

    Raises ValueError for bytes that begin with no schema, or with one of too many types.
    """
    places = _places(stream, columns)
    types = [stream[place] for place in places]
    return _with_types(stream, places, [LOOSE.get(one, one) for one in types]), types


def tightened(stream: bytes, columns: Collection[str], types: list[int]) -> bytes:
    """A stream of those columns, written of a loosened one, with the types from `loosened`.

    Raises ValueError when they are not of this stream.
    """
    return _with_types(stream, _places(stream, columns), types)


def _with_types(stream: bytes, places: list[int], types: list[int]) -> bytes:
    made = bytearray(stream)
    for place, one in zip(places, types, strict=True):
        made[place] = one
    return bytes(made)


def _places(stream: bytes, columns: Collection[str]) -> list[int]:
    """Where the types of the columns stand, and those of what is in them; extension types are left out."""
    found: list[int] = []
    try:
        begin = 8 if at(U32, stream, 0) == NEW_FORMAT else 4
        metadata = memoryview(stream)[begin : begin + at(I32, stream, begin - 4)]
        message = at(U32, metadata, 0)
        schema = follow(metadata, message, HEADER)
        if schema is None or number(U8, metadata, message, HEADER_TYPE) != SCHEMA:
            raise ValueError("the first message is no schema")
        names = {name.encode() for name in columns}
        for column in tables(metadata, schema, FIELDS):
            if text(metadata, column, NAME) in names:
                for place in _within(metadata, column):
                    found.append(begin + place)
                    if len(found) > MOST_TYPES:
                        raise ValueError(f"more than {MOST_TYPES} types")
    except struct.error as error:
        raise ValueError(f"no schema: {error}") from None
    return found


def _within(metadata: Any, column: int) -> Iterator[int]:
    if any(text(metadata, pair, KEY) == EXTENSION for pair in tables(metadata, column, METADATA)):
        return
    place = field(metadata, column, TYPE)
    if place:
        yield place
    for child in tables(metadata, column, CHILDREN):
        yield from _within(metadata, child)

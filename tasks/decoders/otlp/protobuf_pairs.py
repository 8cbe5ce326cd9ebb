"""OTLP's KeyValue messages, each distinct one read once: those that hold a short string all at once."""

import base64
import math
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from tasks.decoders.ids import Mask
from tasks.decoders.json_numbers import NOT_FINITE
from tasks.decoders.otlp.protobuf_messages import KeyValue
from tasks.decoders.otlp.spans import Name, Words, last, nested_text, whole_text

FIRST, SECOND = 0x0A, 0x12  # tags: field 1 and field 2, each of a counted length
SHORT: Final = 0x80  # below it, a length is one byte
Places = NDArray[np.int64]


def words(raws: Any) -> Words:
    """Keys and values of a binary array of serialised KeyValues."""
    plain, keys, values = _plain(raws)
    rest = (~plain).nonzero()[0]
    parsed = [_parse(raw) for raw in raws.take(pa.array(rest)).to_pylist()]
    order = np.empty(len(raws), np.int64)
    order[plain] = np.arange(len(keys))
    order[rest] = len(keys) + np.arange(len(rest))
    read = plain.copy()
    read[rest] = [pair is not None for pair in parsed]
    return Words(
        keys=_joined(keys, [pair[0] if pair else "" for pair in parsed], order),
        values=_joined(values, [pair[1] if pair else None for pair in parsed], order),
        read=read,
    )


def _joined(plain: Any, rest: list[Any], order: Places) -> Any:
    return pa.concat_arrays([plain, pa.array(rest, pa.string())]).take(pa.array(order))


def _plain(raws: Any) -> tuple[Mask, Any, Any]:
    """Which messages are `0a <n> key 12 <n> 0a <n> text`, each length one byte; their keys and values."""
    ends = np.frombuffer(raws.buffers()[1], np.int32)[raws.offset : raws.offset + len(raws) + 1].astype(
        np.int64
    )
    content = raws.buffers()[2]
    room = np.zeros(8 + SHORT, np.uint8)  # so that no look ahead leaves the bytes
    data = np.concatenate((np.frombuffer(content, np.uint8) if content else room[:0], room))
    start, end = ends[:-1], ends[1:]
    key_size = data[start + 1].astype(np.int64)
    value = start + 2 + np.minimum(key_size, SHORT)
    value_size = data[np.minimum(value + 3, len(data) - 1)].astype(np.int64)
    plain = (
        (data[start] == FIRST)
        & (key_size < SHORT)
        & (data[value] == SECOND)
        & (data[value + 1] == value_size + 2)
        & (data[value + 2] == FIRST)
        & (value_size < SHORT - 2)
        & (value + 4 + value_size == end)
    )
    keys = _cut(data, start[plain] + 2, key_size[plain])
    values = _cut(data, value[plain] + 4, value_size[plain])
    try:
        keys.validate(full=True)
        values.validate(full=True)
    except pa.ArrowInvalid:  # some are not UTF-8: let each be looked at
        return np.zeros(len(raws), np.bool_), keys[:0], values[:0]
    return plain, keys, values


def _cut(data: NDArray[np.uint8], starts: Places, sizes: Places) -> Any:
    offsets = np.zeros(len(sizes) + 1, np.int32)
    np.cumsum(sizes, out=offsets[1:])
    places = np.repeat(starts - offsets[:-1], sizes) + np.arange(offsets[-1])
    return pa.StringArray.from_buffers(len(sizes), pa.py_buffer(offsets), pa.py_buffer(data[places]))


def _parse(raw: bytes) -> tuple[str, str | None] | None:
    """Key and value of one message, None when it can't be read."""
    try:
        pair = KeyValue.FromString(raw)
        return pair.key.decode(), whole_text(partial(_value, pair.value))
    except (DecodeError, UnicodeDecodeError, RecursionError, msgspec.MsgspecError):
        return None


def text_of(value: Any) -> str:
    """The text of an AnyValue that has a value, whose parts are within all bounds.

    Raises `UnicodeDecodeError`, and `RecursionError`, mostly as `TooDeep`.
    """
    return nested_text(_value(value, last))


def _value(value: Any, name: Name) -> Any:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return value.string_value.decode()
    if kind == "array_value":
        return [_value(one, name) for one in value.array_value.values]
    if kind == "kvlist_value":
        made: dict[str, Any] = {}
        for pair in value.kvlist_value.values:
            made[name(pair.key.decode(), made)] = _value(pair.value, name)
        return made
    if kind == "bytes_value":
        return base64.b64encode(value.bytes_value).decode()
    if kind == "double_value":
        return as_number(value.double_value)
    return None if kind is None else getattr(value, kind)


def as_number(value: float) -> float | str:
    """A double as JSON says it: as text if it isn't finite."""
    if math.isfinite(value):
        return value
    not_a_number, infinite, negative = NOT_FINITE
    return not_a_number if math.isnan(value) else infinite if value > 0 else negative

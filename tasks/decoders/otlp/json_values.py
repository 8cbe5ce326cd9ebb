"""Attributes of OTLP in JSON: each distinct attribute is read once."""

import re
from functools import partial
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from tasks.decoders.json_numbers import LEAST, MOST, double, whole
from tasks.decoders.ndjson import Unreadable
from tasks.decoders.otlp.spans import Name, Words, whole_text
from tasks.events.otlp_values import AnyValue, KeyValue

# In a string a quote is escaped, so a name in quotes and before a colon is a name.
SNAKE: Final = re.compile(
    rb'"((?:string|bool|int|double|array|kvlist|bytes)_value|time_unix_nano|trace_id|span_id|trace_state'
    rb'|dropped_attributes_count|schema_url|instrumentation_library)"(?=\s*:)'
)
ENDS: Final = (b'_value"', b'_nano"', b'_id"', b'_state"', b'_count"', b'_url"', b'_library"')
_pair = msgspec.json.Decoder(KeyValue)


def camel(name: re.Match[bytes]) -> bytes:
    """The name in lowerCamelCase."""
    first, *rest = name[0].split(b"_")
    return first + b"".join(word.capitalize() for word in rest)


def camel_names(text: bytes) -> bytes:
    """JSON text of attributes, or of what holds them, with OTLP's names in lowerCamelCase."""
    return SNAKE.sub(camel, text) if any(end in text for end in ENDS) else text


def read_pair(text: bytes) -> KeyValue:
    """A KeyValue. Raises msgspec.MsgspecError and what is in `Unreadable`."""
    return _pair.decode(camel_names(text) if b'_value"' in text else text)


def words(raws: Any) -> Words:
    """Keys and values of a binary array of KeyValues."""
    parsed = [_parse(raw) for raw in raws.to_pylist()]
    return Words(
        keys=pa.array([pair[0] if pair else "" for pair in parsed], pa.string()),
        values=pa.array([pair[1] if pair else None for pair in parsed], pa.string()),
        read=np.fromiter((pair is not None for pair in parsed), np.bool_, len(parsed)),
    )


def _parse(raw: bytes) -> tuple[str, str | None] | None:
    """Key and value of one attribute, None when it can't be read."""
    try:
        pair = read_pair(raw)
        return pair.key or "", whole_text(partial(_value, pair.value))
    except (*Unreadable, msgspec.MsgspecError, ValueError):
        return None


def _value(value: AnyValue | None, name: Name) -> Any:
    if value is None:
        return None
    if value.string_value is not None:
        return value.string_value
    if value.int_value is not None:
        return whole(value.int_value, LEAST, MOST)
    if value.double_value is not None:
        return double(value.double_value)
    if value.array_value is not None:
        return [_value(one, name) for one in value.array_value.values or ()]
    if value.kvlist_value is not None:
        made: dict[str, Any] = {}
        for pair in value.kvlist_value.values or ():
            made[name(pair.key or "", made)] = _value(pair.value, name)
        return made
    return value.bool_value if value.bytes_value is None else value.bytes_value

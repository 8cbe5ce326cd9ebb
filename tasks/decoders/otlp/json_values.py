"""Attributes and numbers of OTLP in JSON: each distinct attribute is read once."""

import math
import re
from decimal import Decimal
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa

from tasks.decoders.attributes import as_text
from tasks.decoders.ndjson import Unreadable
from tasks.decoders.otlp.spans import NOT_FINITE, Words
from tasks.events.otlp_values import AnyValue, KeyValue, Number

NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
LEAST, MOST = -(2**63), 2**63 - 1
# In a string a quote is escaped, so a name in quotes and before a colon is a name.
SNAKE: Final = re.compile(rb'"(string|bool|int|double|array|kvlist|bytes)_value"(?=\s*:)')
_pair = msgspec.json.Decoder(KeyValue)


def whole(value: Number, least: int, most: int) -> int:
    """A 64-bit number in any spelling of proto3's JSON: digits, also as text, with a fraction of zeros or an
    exponent.

    Raises ValueError for all else, and for what lies beyond `least` and `most`.
    """
    if not isinstance(value, int):
        text = value if isinstance(value, str) else repr(value)
        if not NUMBER.fullmatch(text):
            raise ValueError("not a number")
        value = _exact(text)
    if not least <= value <= most:
        raise ValueError("beyond 64 bits")
    return value


def _exact(text: str) -> int:
    try:
        number = Decimal(text)
        if number.adjusted() > 20 or number != number.to_integral_value():  # 64 bits have up to 20 digits
            raise ValueError("not a whole number of 64 bits")
    except ArithmeticError:
        raise ValueError("an exponent beyond all numbers") from None
    return int(number)


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
        pair = _pair.decode(raw if b'_value"' not in raw else SNAKE.sub(rb'"\1Value"', raw))
        value = _value(pair.value)
        return pair.key or "", None if value is None else as_text(value)
    except (*Unreadable, msgspec.MsgspecError, ValueError):
        return None


def _value(value: AnyValue | None) -> Any:
    if value is None:
        return None
    if value.string_value is not None:
        return value.string_value
    if value.int_value is not None:
        return whole(value.int_value, LEAST, MOST)
    if value.double_value is not None:
        return _double(value.double_value)
    if value.array_value is not None:
        return [_value(one) for one in value.array_value.values or ()]
    if value.kvlist_value is not None:
        return {pair.key or "": _value(pair.value) for pair in value.kvlist_value.values or ()}
    return value.bool_value if value.bytes_value is None else value.bytes_value


def _double(value: Number) -> float | str:
    if isinstance(value, str) and value in NOT_FINITE:
        return value
    if isinstance(value, str) and not NUMBER.fullmatch(value):
        raise ValueError("not a number")
    try:
        double = float(value)
    except OverflowError:
        double = math.inf
    if not math.isfinite(double):
        raise ValueError("beyond a double")
    return double

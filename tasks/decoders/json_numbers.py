"""Numbers in the spellings that proto3's JSON allows (https://protobuf.dev/programming-guides/json/)."""

import math
import re
from decimal import Decimal
from typing import Final

from tasks.events.otlp_values import Number

NUMBER: Final = re.compile(r"-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", re.ASCII)
LEAST, MOST = -(2**63), 2**63 - 1
NOT_FINITE: Final = ("NaN", "Infinity", "-Infinity")  # how OpenTelemetry and proto3's JSON write them as text


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


def double(value: Number) -> float | str:
    """A finite double, or the text of one that is not. Raises ValueError for all else."""
    if isinstance(value, str) and value in NOT_FINITE:
        return value
    if isinstance(value, str) and not NUMBER.fullmatch(value):
        raise ValueError("not a number")
    try:
        found = float(value)
    except OverflowError:
        found = math.inf
    if not math.isfinite(found):
        raise ValueError("beyond a double")
    return found


def _exact(text: str) -> int:
    try:
        number = Decimal(text)
        if number.adjusted() > 20 or number != number.to_integral_value():  # 64 bits have up to 20 digits
            raise ValueError("not a whole number of 64 bits")
    except ArithmeticError:
        raise ValueError("an exponent beyond all numbers") from None
    return int(number)

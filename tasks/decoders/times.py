"""Times as text: RFC 3339 into microseconds since 1970."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.decoders.ids import Mask

MICROSECONDS: Final = pa.timestamp("us", tz="UTC")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND: Final = timedelta(microseconds=1)
SECOND_US: Final = 1_000_000
# RFC 3339 writes a leap second as the 60th of its minute; it ends a day of UTC.
_LEAP: Final = re.compile(r"^(.{16}):60(?!\d)")


def rfc3339(texts: Any) -> tuple[Any, Mask | None]:
    """Timestamps (µs, UTC) from a string array, and which values are none; finer digits are cut off."""
    try:
        return texts.cast(MICROSECONDS), None
    except pa.ArrowInvalid:
        pass
    plain = pc.replace_substring_regex(pc.ascii_upper(texts), r"(\.\d{6})\d+", r"\1")
    try:
        return plain.cast(MICROSECONDS), None
    except pa.ArrowInvalid:
        return _one_by_one(plain)


def _one_by_one(texts: Any) -> tuple[Any, Mask | None]:
    words = texts.dictionary_encode()
    known = pa.array(map(_microseconds, words.dictionary.to_pylist()), pa.int64())
    times = known.take(words.indices).cast(MICROSECONDS)
    wrong: Mask = np.asarray(pc.and_(times.is_null(), texts.is_valid()))
    return times, wrong if wrong.any() else None


def _microseconds(text: str) -> int | None:
    without, leaps = _LEAP.subn(r"\1:59", text)
    try:
        moment = datetime.fromisoformat(without)
        since_us = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - EPOCH) // MICROSECOND
    except (ValueError, OverflowError):
        return None
    since_us += leaps * SECOND_US
    return None if leaps and since_us // SECOND_US % 86_400 else since_us

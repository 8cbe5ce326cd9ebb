"""Which events of a window fit, and why the others don't: whole columns at a time, all batches at once."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.decoders.ids import Mask
from tasks.decoders.reasons import RejectReason
from tasks.events import COLUMNS, NO_EVENTS, LateAttributes, holds_zero

YEAR_2000_US: Final = 946_684_800_000_000
DAY_US: Final = 86_400_000_000
DURATION_END_US: Final = 2**53  # 285 years; beyond it a float no longer counts every microsecond
NAME_BYTES: Final = 1_024  # service, operation, user id
KIND_BYTES: Final = 64
MESSAGE_BYTES: Final = 16 * 1_024
ATTRIBUTES: Final = 128  # an event's own; as many of its resource's
KEY_BYTES: Final = 256
VALUE_BYTES: Final = 16 * 1_024
OUT_OF_TIME: Final = "not between 2000-01-01 and a day after it was accepted"
OUT_OF_BOUNDS: Final = (
    f"more than {ATTRIBUTES}, a key above {KEY_BYTES} bytes or a value above {VALUE_BYTES} bytes"
)
STATUS: Final = pa.array(["ok", "error"])
TEXTS: Final = ("service", "operation", "kind", "status", "status_message", "user_id")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that can be wrong with an event, and which events it is wrong with."""

    reason: RejectReason
    detail: str
    wrong: Mask


def normalised(table: pa.Table) -> pa.Table:
    """COLUMNS in one chunk: status ok when not given, status and kind in lower case, no parent of zeros."""
    table = table.combine_chunks()
    if table.num_rows == 0:
        return NO_EVENTS.select(COLUMNS.names).combine_chunks()
    status = column(table, "status")
    if status.null_count or not pc.all(pc.is_in(status, STATUS)).as_py():
        table = _with(table, "status", pc.fill_null(pc.ascii_lower(status), "ok"))
    kind = column(table, "kind")
    if kind.null_count < len(kind):
        table = _with(table, "kind", pc.ascii_lower(kind))
    parent = column(table, "parent_id")
    zero = _zero(parent)
    if zero.any():
        table = _with(table, "parent_id", pc.if_else(pa.array(zero), None, parent))
    return table


def checks(
    table: pa.Table,
    attributes: LateAttributes,
    accepted_at_us: NDArray[np.int64],
    lent: NDArray[np.int64] | None = None,
) -> Iterator[Check]:
    """All that is wrong with the events of a `normalised` table, in the order in which it counts.

    `accepted_at_us` is, event by event, when its batch was accepted, `lent` as `Read.lent`.
    """
    in_time: _Rule = (RejectReason.BAD_TIME, OUT_OF_TIME, partial(_time, accepted_at_us=accepted_at_us))
    bounds: _Rule = (RejectReason.BAD_ATTRIBUTES, OUT_OF_BOUNDS, lambda _: _attributes(attributes, lent))
    nul: _Rule = (
        RejectReason.NUL_CHARACTER,
        "holds U+0000, which the database can't",
        partial(_nul, attributes=attributes),
    )
    for reason, detail, find in (*_IDS, in_time, *_REST, bounds, nul):
        wrong = find(table)
        if wrong is not None and wrong.any():
            yield Check(reason, detail, wrong)


def column(table: pa.Table, name: str) -> Any:
    """The one chunk of a column."""
    return table[name].chunk(0)


def _with(table: pa.Table, name: str, values: Any) -> pa.Table:
    return table.set_column(COLUMNS.get_field_index(name), COLUMNS.field(name), values)


def _zero(ids: Any) -> Mask:
    """Which ids hold zeros only; what null ids hold is undefined."""
    width = ids.type.byte_width
    data = np.frombuffer(ids.buffers()[1], np.uint64, len(ids) * width // 8, ids.offset * width)
    return np.asarray(~data.reshape(len(ids), width // 8).any(axis=1))


def _no_id(name: str) -> Callable[[pa.Table], Mask]:
    def find(table: pa.Table) -> Mask:
        ids = column(table, name)
        return _zero(ids) | _null(ids)

    return find


def _null(values: Any) -> Mask:
    return np.asarray(values.is_null().to_numpy(zero_copy_only=False))


def _int64(values: Any, null: int) -> NDArray[np.int64]:
    numbers = values.view(pa.int64())
    return np.asarray(numbers.fill_null(null) if numbers.null_count else numbers)


def _time(table: pa.Table, accepted_at_us: NDArray[np.int64]) -> Mask:
    return out_of_time(column(table, "started_at"), accepted_at_us)


def out_of_time(times: Any, accepted_at_us: NDArray[np.int64]) -> Mask:
    """Which timestamps (µs; null is one) are nobody's, given when each one's batch was accepted."""
    us = _int64(times, 0)
    return np.asarray((us < YEAR_2000_US) | (us > accepted_at_us + DAY_US))


def _duration(table: pa.Table) -> Mask:
    durations = _int64(column(table, "duration_us"), -1)
    return np.asarray((durations < 0) | (durations >= DURATION_END_US))


def _lengths(values: Any, null: int) -> NDArray[np.int32]:
    """Bytes of each string."""
    lengths = pc.binary_length(values)
    return np.asarray(lengths.fill_null(null) if lengths.null_count else lengths)


def _sized(name: str, least: int, most: int) -> Callable[[pa.Table], Mask | None]:
    def find(table: pa.Table) -> Mask | None:
        texts = column(table, name)
        if least == 0 and texts.null_count == len(texts):
            return None
        lengths = _lengths(texts, 0)
        return np.asarray((lengths < least) | (lengths > most))

    return find


def _status(table: pa.Table) -> Mask | None:
    known = pc.is_in(column(table, "status"), STATUS)
    return None if pc.all(known).as_py() else ~np.asarray(known.to_numpy(zero_copy_only=False))


def _attributes(attributes: LateAttributes, lent: NDArray[np.int64] | None) -> Mask:
    counts = attributes.counts()
    wrong = counts > ATTRIBUTES if lent is None else (counts - lent > ATTRIBUTES) | (lent > ATTRIBUTES)
    long = attributes.oversized(KEY_BYTES, VALUE_BYTES)
    return np.asarray(wrong if long is None else wrong | long)


def _nul(table: pa.Table, attributes: LateAttributes) -> Mask | None:
    """PostgreSQL's text can't hold U+0000."""
    wrong = np.zeros(table.num_rows, np.bool_)
    for name in TEXTS:
        texts = column(table, name)
        if holds_zero(texts):
            wrong |= _with_nul(texts)
    found = attributes.with_nul()
    return wrong if found is None else wrong | found


def _with_nul(texts: Any) -> Mask:
    found = pc.match_substring(texts, "\0")
    return np.asarray(found.fill_null(False).to_numpy(zero_copy_only=False))


_Rule = tuple[RejectReason, str, Callable[[pa.Table], Mask | None]]
_IDS: Final[tuple[_Rule, ...]] = (
    (RejectReason.BAD_EVENT_ID, "missing, or only zeros", _no_id("event_id")),
    (RejectReason.BAD_TRACE_ID, "missing, or only zeros", _no_id("trace_id")),
)
_REST: Final[tuple[_Rule, ...]] = (
    (RejectReason.BAD_DURATION, "missing, negative, or not below 2^53 microseconds", _duration),
    (
        RejectReason.BAD_SERVICE,
        f"missing, empty, or above {NAME_BYTES} bytes",
        _sized("service", 1, NAME_BYTES),
    ),
    (
        RejectReason.BAD_OPERATION,
        f"missing, empty, or above {NAME_BYTES} bytes",
        _sized("operation", 1, NAME_BYTES),
    ),
    (RejectReason.BAD_KIND, f"above {KIND_BYTES} bytes", _sized("kind", 0, KIND_BYTES)),
    (RejectReason.BAD_STATUS, "neither ok nor error", _status),
    (
        RejectReason.BAD_STATUS_MESSAGE,
        f"above {MESSAGE_BYTES} bytes",
        _sized("status_message", 0, MESSAGE_BYTES),
    ),
    (RejectReason.BAD_USER_ID, f"above {NAME_BYTES} bytes", _sized("user_id", 0, NAME_BYTES)),
)

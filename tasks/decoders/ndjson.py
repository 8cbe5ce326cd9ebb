"""Events as JSON: one object a line (NDJSON), or one array of such objects. docs/formats.md shows both."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from tasks.decoders.attributes import NONE, TooDeep, bound_nesting, could_be_deep, from_objects
from tasks.decoders.contract import BadRow, DecodeLimits, Read, UnfitBatch
from tasks.decoders.ids import Mask, hex_ids
from tasks.decoders.reasons import RejectReason, UnfitReason
from tasks.decoders.rows import bad_rows
from tasks.decoders.times import MICROSECONDS, rfc3339
from tasks.events import EVENTS

DETAIL: Final = 200  # characters
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class JsonEvent(msgspec.Struct, gc=False):
    """One event as agents write it in JSON; ids in hexadecimal, times RFC 3339 or microseconds since 1970."""

    event_id: str
    trace_id: str
    started_at: str | Int64
    duration_us: Int64
    service: str
    operation: str
    parent_id: str | None = None
    kind: str | None = None
    status: str | None = None
    status_message: str | None = None
    user_id: str | None = None
    attributes: dict[str, Any] | None = None


TEXTS: Final = ("service", "operation", "kind", "status", "status_message", "user_id")
Unreadable = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_events = msgspec.json.Decoder(JsonEvent)
_array = msgspec.json.Decoder(list[JsonEvent])
_pieces = msgspec.json.Decoder(list[msgspec.Raw])


def read_lines(data: bytes, limits: DecodeLimits) -> Read:
    """NDJSON. A line that can't be read is rejected alone, with its bytes; empty lines are skipped.

    Raises `UnfitBatch`: too_many_events, too_many_values, too_many_rejects.
    """
    bound_values(data, limits)
    ends = data.count(b"\n")
    if ends > limits.events:
        raise UnfitBatch(UnfitReason.TOO_MANY_EVENTS, f"more than {limits.events} lines")
    try:
        events = _events.decode_lines(data)
        if len(events) == ends + (not data.endswith(b"\n")):
            return _table(events, limits)
    except Unreadable:
        pass
    return _piece_by_piece(data.split(b"\n"), limits)


def read_array(data: bytes, limits: DecodeLimits) -> Read:
    """A JSON array. An element that is no event is rejected alone, with its bytes.

    Raises `UnfitBatch`: malformed, too_many_events, too_many_values, too_many_rejects.
    """
    bound_values(data, limits)
    try:
        return _table(_array.decode(data), limits)
    except Unreadable:
        pass
    try:
        pieces = _pieces.decode(data)
    except Unreadable as error:
        raise UnfitBatch(UnfitReason.MALFORMED, f"not a JSON array: {error}"[:DETAIL]) from None
    return _piece_by_piece(map(bytes, pieces), limits)


def bound_values(data: bytes, limits: DecodeLimits) -> None:
    """Refuse what would become too many objects: a value costs two bytes as text, a hundred when parsed.

    Raises `UnfitBatch`: too_many_values.
    """
    if len(data) > limits.values and sum(map(data.count, (b",", b"[", b"{"))) > limits.values:
        raise UnfitBatch(UnfitReason.TOO_MANY_VALUES, f"more than {limits.values} JSON values")


def reason_of(error: Exception) -> RejectReason:
    """What msgspec's refusal, or ours of deep values, means for the event."""
    if isinstance(error, TooDeep):
        return RejectReason.BAD_ATTRIBUTES
    if isinstance(error, msgspec.ValidationError):
        return RejectReason.BAD_FIELD
    return RejectReason.BAD_UTF8 if isinstance(error, UnicodeDecodeError) else RejectReason.NOT_JSON


def each(
    pieces: Iterable[bytes], decode: Callable[[bytes], Any], limits: DecodeLimits
) -> tuple[list[Any], list[int], list[BadRow]]:
    """The values of the readable ``pieces``, which pieces these were, and the unreadable; blanks are skipped.

    Raises `UnfitBatch`: too_many_rejects.
    """
    values: list[Any] = []
    rows: list[int] = []
    bad: list[BadRow] = []
    for row, piece in enumerate(pieces):
        if not piece or piece.isspace():
            continue
        try:
            values.append(decode(piece))
            rows.append(row)
        except Unreadable as error:
            detail = str(error)[:DETAIL]
            line = piece.replace(b"\n", b" ")  # in JSON a line break is but a space
            bad.append(BadRow(row=row, reason=reason_of(error), detail=detail, data=line))
            if len(bad) > limits.rejects:
                raise UnfitBatch(UnfitReason.TOO_MANY_REJECTS, f"the last one: {detail}") from None
    return values, rows, bad


def _piece_by_piece(pieces: Iterable[bytes], limits: DecodeLimits) -> Read:
    events, rows, bad = each(pieces, _event, limits)
    read = _table(events, limits)
    return read.moved(rows, bad)


def _event(piece: bytes) -> JsonEvent:
    event = _events.decode(piece)
    if could_be_deep(piece):
        for value in (event.attributes or NONE).values():
            bound_nesting(value)
    return event


def _table(events: list[JsonEvent], limits: DecodeLimits) -> Read:
    if len(events) > limits.events:
        raise UnfitBatch(UnfitReason.TOO_MANY_EVENTS, f"more than {limits.events} events")
    sent = {
        "event_id": pa.array([event.event_id for event in events], pa.string()),
        "trace_id": pa.array([event.trace_id for event in events], pa.string()),
        "parent_id": pa.array([event.parent_id for event in events], pa.string()),
    }
    event_id, bad_event = hex_ids(sent["event_id"], 8)
    trace_id, bad_trace = hex_ids(sent["trace_id"], 16)
    parent_id, bad_parent = hex_ids(sent["parent_id"], 8)
    started_at, bad_time, texts = _times([event.started_at for event in events])
    if texts is not None:
        sent["started_at"] = texts
    columns = {
        "event_id": event_id,
        "trace_id": trace_id,
        "parent_id": parent_id,
        "started_at": started_at,
        "duration_us": pa.array([event.duration_us for event in events], pa.int64()),
        "service": pa.array([event.service for event in events], pa.string()),
        "operation": pa.array([event.operation for event in events], pa.string()),
        "kind": pa.array([event.kind for event in events], pa.string()),
        "status": pa.array([event.status for event in events], pa.string()),
        "status_message": pa.array([event.status_message for event in events], pa.string()),
        "user_id": pa.array([event.user_id for event in events], pa.string()),
        "attributes": from_objects([event.attributes for event in events]),
    }
    table = pa.table(columns, schema=EVENTS)
    wrong = (
        (RejectReason.BAD_EVENT_ID, bad_event, "not 16 hexadecimal digits"),
        (RejectReason.BAD_TRACE_ID, bad_trace, "not 32 hexadecimal digits"),
        (RejectReason.BAD_PARENT_ID, bad_parent, "not 16 hexadecimal digits"),
        (RejectReason.BAD_TIME, bad_time, "not a time of RFC 3339"),
    )
    return Read.of(table, bad_rows(table, wrong, sent, limits))


def _times(values: list[str | int]) -> tuple[Any, Mask | None, Any]:
    """Timestamps, which of them can't be read, and the texts of those that were sent as text."""
    kinds = set(map(type, values))
    if str not in kinds:
        return pa.array(values, pa.int64()).cast(MICROSECONDS), None, None
    if int not in kinds:
        texts = pa.array(values, pa.string())
        return *rfc3339(texts), texts
    texts = pa.array([value if isinstance(value, str) else None for value in values], pa.string())
    numbers = pa.array([value if isinstance(value, int) else None for value in values], pa.int64())
    times, wrong = rfc3339(texts)
    return pc.coalesce(times, numbers.cast(MICROSECONDS)), wrong, texts

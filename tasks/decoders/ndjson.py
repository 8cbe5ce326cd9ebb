"""Events as JSON: one object a line (NDJSON), or one array of such objects. docs/formats.md shows both."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Annotated, Any, Final

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from tasks.decoders.attributes import NONE, TooDeep, bound_nesting, could_be_deep, from_objects
from tasks.decoders.contract import BadRow, DecodeLimits, Read, UnfitBatch
from tasks.decoders.ids import Mask, hex_ids
from tasks.decoders.json_pieces import Torn, elements
from tasks.decoders.late_details import DetailSource, TypedValues
from tasks.decoders.reasons import RejectReason, UnfitReason
from tasks.decoders.rows import bad_rows
from tasks.decoders.sent_details import SentDetails, rejections
from tasks.decoders.times import MICROSECONDS, rfc3339
from tasks.events import EVENTS

DETAIL: Final = 200  # characters
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
NOT_THERE: Final = msgspec.Raw(b"")


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
    trace_state: str | None = None
    flags: Int64 | None = None
    resource: msgspec.Raw = NOT_THERE
    scope: msgspec.Raw = NOT_THERE
    span: msgspec.Raw = NOT_THERE
    span_events: msgspec.Raw = NOT_THERE
    links: msgspec.Raw = NOT_THERE


TEXTS: Final = ("service", "operation", "kind", "status", "status_message", "user_id")
Unreadable = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_events = msgspec.json.Decoder(JsonEvent)
_array = msgspec.json.Decoder(list[JsonEvent])


def read_lines(data: bytes, limits: DecodeLimits) -> Read:
    """NDJSON. A line that can't be read is rejected alone, with its bytes; empty lines are skipped.

    Raises `UnfitBatch`: too_many_events, too_many_values, too_many_rejects.
    """
    try:
        return together([parse_lines(data, limits)[1]], limits)
    except Unreadable:
        pass
    return _piece_by_piece(data.split(b"\n"), limits)


def parse_lines(data: bytes, limits: DecodeLimits) -> tuple[int, list[JsonEvent]]:
    """How many events, and which, when each line is one that can be parsed.

    Raises what is in `Unreadable`, and `UnfitBatch`: too_many_events, too_many_values.
    """
    bound_values(data, limits)
    ends = data.count(b"\n")
    if ends > limits.events:
        raise UnfitBatch(UnfitReason.TOO_MANY_EVENTS, f"more than {limits.events} lines")
    events = _events.decode_lines(data)
    if len(events) != ends + (not data.endswith(b"\n")):
        raise msgspec.DecodeError("a line without an event")
    return len(events), events


def read_array(data: bytes, limits: DecodeLimits) -> Read:
    """A JSON array. An element that is no event, or no JSON, is rejected alone, with its bytes.

    Raises `UnfitBatch`: malformed, too_many_events, too_many_values, too_many_rejects.
    """
    try:
        return together([parse_array(data, limits)[1]], limits)
    except Unreadable:
        pass
    bound_strings(data, limits)
    try:
        pieces = elements(data)
    except Torn as error:
        raise UnfitBatch(UnfitReason.MALFORMED, f"not a JSON array: {error}"[:DETAIL]) from None
    if len(pieces) > limits.events:
        raise UnfitBatch(UnfitReason.TOO_MANY_EVENTS, f"more than {limits.events} elements")
    return _piece_by_piece(pieces, limits)


def parse_array(data: bytes, limits: DecodeLimits) -> tuple[int, list[JsonEvent]]:
    """As `parse_lines`, of an array. Raises what is in `Unreadable`, and `UnfitBatch`: too_many_values."""
    bound_values(data, limits)
    events = _array.decode(data)
    return len(events), events


def together(parsed: Sequence[list[JsonEvent]], limits: DecodeLimits) -> Read:
    """The events of one body or many.

    Raises `UnfitBatch` (too_many_events, too_many_rejects) and, for deep values, RecursionError.
    """
    return _table(parsed[0] if len(parsed) == 1 else list(chain.from_iterable(parsed)), limits)


def pick_lines(data: bytes, rows: Sequence[int]) -> Iterator[bytes]:
    """As `Format.pick` of NDJSON."""
    lines = data.split(b"\n")
    return (lines[row] for row in rows)


def pick_elements(data: bytes, rows: Sequence[int]) -> Iterator[bytes]:
    """As `Format.pick` of a JSON array: arrays of one element."""
    pieces = elements(data)
    return (b"[%b]" % pieces[row] for row in rows)


def bound_values(data: bytes, limits: DecodeLimits) -> None:
    """Refuse what would become too many objects: a value costs two bytes as text, a hundred when parsed.

    Raises `UnfitBatch`: too_many_values.
    """
    if len(data) > limits.values and sum(map(data.count, (b",", b"[", b"{"))) > limits.values:
        raise UnfitBatch(UnfitReason.TOO_MANY_VALUES, f"more than {limits.values} JSON values")


def bound_strings(data: bytes, limits: DecodeLimits) -> None:
    """Refuse what has more strings than its values could be, before it is told apart string by string.

    Raises `UnfitBatch`: too_many_values.
    """
    if data.count(b'"') - data.count(b'\\"') > 4 * limits.values:  # of what parses, no value has more
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
    """The values of the readable `pieces`, which pieces these were, and the unreadable; blanks are skipped.

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
            bad.append(BadRow(row=row, reason=reason_of(error), detail=detail))
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
    event_id, bad_event = hex_ids(pa.array([event.event_id for event in events], pa.string()), 8)
    trace_id, bad_trace = hex_ids(pa.array([event.trace_id for event in events], pa.string()), 16)
    parent_id, bad_parent = hex_ids(pa.array([event.parent_id for event in events], pa.string()), 8)
    started_at, bad_time = _times([event.started_at for event in events])
    maps, typed = from_objects([event.attributes for event in events])
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
        "attributes": maps,
    }
    table = pa.table(columns, schema=EVENTS)
    wrong = (
        (RejectReason.BAD_EVENT_ID, bad_event, "not 16 hexadecimal digits"),
        (RejectReason.BAD_TRACE_ID, bad_trace, "not 32 hexadecimal digits"),
        (RejectReason.BAD_PARENT_ID, bad_parent, "not 16 hexadecimal digits"),
        (RejectReason.BAD_TIME, bad_time, "not a time of RFC 3339"),
    )
    sent = {row: _sent(events[row]) for row in _with_details(events)}
    rejected = rejections(sent)
    source = DetailSource(
        sent={row: one for row, one in sent.items() if row not in rejected},
        typed=TypedValues(maps, typed) if len(typed) else None,
    )
    return Read.of(table, bad_rows(wrong, limits, rejected), detailed=source.each(len(events)))


def _with_details(events: Sequence[JsonEvent]) -> list[int]:
    return [
        row
        for row, event in enumerate(events)
        if event.span_events is not NOT_THERE
        or event.resource is not NOT_THERE
        or event.scope is not NOT_THERE
        or event.links is not NOT_THERE
        or event.span is not NOT_THERE
        or event.trace_state is not None
        or event.flags is not None
    ]


def _sent(event: JsonEvent) -> SentDetails:
    documents = (event.resource, event.scope, event.span, event.span_events, event.links)
    return SentDetails(event.service, event.trace_state, event.flags, *map(bytes, documents))


def _times(values: list[str | int]) -> tuple[Any, Mask | None]:
    """Timestamps, and which of them can't be read."""
    kinds = set(map(type, values))
    if str not in kinds:
        return pa.array(values, pa.int64()).cast(MICROSECONDS), None
    if int not in kinds:
        return rfc3339(pa.array(values, pa.string()))
    texts = pa.array([value if isinstance(value, str) else None for value in values], pa.string())
    numbers = pa.array([value if isinstance(value, int) else None for value in values], pa.int64())
    times, wrong = rfc3339(texts)
    return pc.coalesce(times, numbers.cast(MICROSECONDS)), wrong

"""OTLP/HTTP traces in JSON: ExportTraceServiceRequest with hexadecimal ids and names in lowerCamelCase."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.decoders.attributes import as_text
from tasks.decoders.contract import BadRow, DecodeLimits, Read, UnfitBatch
from tasks.decoders.ids import Mask, hex_ids
from tasks.decoders.ndjson import DETAIL, Unreadable, bound_values, each
from tasks.decoders.otlp_spans import Spans, Words, table
from tasks.decoders.reasons import RejectReason, UnfitReason

KINDS: Final = {
    f"SPAN_KIND_{name}": number
    for number, name in enumerate(("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"))
}
ERRORS: Final = frozenset((2, "2", "STATUS_CODE_ERROR"))
Int64 = int | str


class _Camel(msgspec.Struct, rename="camel"):
    pass


class Status(_Camel):
    """OTLP's Status; ``code`` is a number or its enum's name."""

    message: str | None = None
    code: int | str | None = None


class Span(_Camel):
    """OTLP's Span as far as it becomes an event; attributes wait as bytes until each distinct one is read."""

    trace_id: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    name: str | None = None
    kind: int | str | None = None
    start_time_unix_nano: Int64 | None = None
    end_time_unix_nano: Int64 | None = None
    attributes: list[msgspec.Raw] | None = None
    status: Status | None = None


class Resource(_Camel):
    """OTLP's Resource."""

    attributes: list[msgspec.Raw] | None = None


class _Scope(_Camel):
    spans: list[Span] | None = None


class _Group(_Camel):
    resource: Resource | None = None
    scope_spans: list[_Scope] | None = None


class _Request(_Camel):
    resource_spans: list[_Group] | None = None


class _RawScope(_Camel):
    spans: list[msgspec.Raw] | None = None


class _RawGroup(_Camel):
    resource: Resource | None = None
    scope_spans: list[_RawScope] | None = None


class _RawRequest(_Camel):
    resource_spans: list[_RawGroup] | None = None


class AnyValue(_Camel):
    """OTLP's AnyValue: one of its fields, or none."""

    string_value: str | None = None
    bool_value: bool | None = None
    int_value: Int64 | None = None
    double_value: float | int | str | None = None  # "NaN", "Infinity"
    array_value: "ArrayValue | None" = None
    kvlist_value: "KeyValueList | None" = None
    bytes_value: str | None = None  # base64


class ArrayValue(_Camel):
    """OTLP's ArrayValue."""

    values: list[AnyValue] | None = None


class KeyValue(_Camel):
    """OTLP's KeyValue."""

    key: str
    value: AnyValue | None = None


class KeyValueList(_Camel):
    """OTLP's KeyValueList."""

    values: list[KeyValue] | None = None


NO_STATUS: Final = Status()
_request = msgspec.json.Decoder(_Request)
_raw_request = msgspec.json.Decoder(_RawRequest)
_span = msgspec.json.Decoder(Span)
_pair = msgspec.json.Decoder(KeyValue)


def read(data: bytes, limits: DecodeLimits) -> Read:
    """An ExportTraceServiceRequest. A span that is none is rejected alone, with its bytes.

    Raises `UnfitBatch`: malformed, too_many_values, too_many_events, too_large, too_many_rejects.
    """
    bound_values(data, limits)
    try:
        return _read(_request.decode(data).resource_spans or [], limits)
    except Unreadable:
        pass
    try:
        groups = _raw_request.decode(data).resource_spans or []
    except Unreadable as error:
        raise UnfitBatch(UnfitReason.MALFORMED, f"not a trace export: {error}"[:DETAIL]) from None
    return _span_by_span(groups, limits)


def _read(groups: Sequence[_Group], limits: DecodeLimits) -> Read:
    scopes = [[scope.spans or [] for scope in group.scope_spans or []] for group in groups]
    sizes = [sum(map(len, spans)) for spans in scopes]
    if sum(sizes) > limits.events:
        raise UnfitBatch(UnfitReason.TOO_MANY_EVENTS, f"more than {limits.events} spans")
    spans = [span for lists in scopes for one in lists for span in one]
    return table(_columns(spans, sizes, [group.resource for group in groups]), _words, limits)


def _span_by_span(groups: Sequence[_RawGroup], limits: DecodeLimits) -> Read:
    good: list[_Group] = []
    places: list[int] = []
    bad: list[BadRow] = []
    first = 0
    for group in groups:
        pieces = [bytes(raw) for scope in group.scope_spans or [] for raw in scope.spans or []]
        spans, rows, unreadable = each(pieces, _span.decode, limits)
        good.append(_Group(resource=group.resource, scope_spans=[_Scope(spans=spans)]))
        places.extend(first + row for row in rows)
        bad.extend(replace(row, row=first + row.row) for row in unreadable)
        first += len(pieces)
    return _read(good, limits).moved(places, bad)


def _columns(spans: Sequence[Span], sizes: Sequence[int], resources: Sequence[Resource | None]) -> Spans:
    sent = {
        "event_id": pa.array([span.span_id for span in spans], pa.string()),
        "trace_id": pa.array([span.trace_id for span in spans], pa.string()),
        "parent_id": pa.array([span.parent_span_id for span in spans], pa.string()),
    }
    ids = {name: hex_ids(values, 16 if name == "trace_id" else 8) for name, values in sent.items()}
    start_ns, bad_start = _nanoseconds([span.start_time_unix_nano for span in spans])
    end_ns, bad_end = _nanoseconds([span.end_time_unix_nano for span in spans])
    statuses = [span.status or NO_STATUS for span in spans]
    return Spans(
        resources=[_bytes(resource.attributes) if resource else () for resource in resources],
        sizes=sizes,
        attributes=[_bytes(span.attributes) for span in spans],
        ids=ids,
        sent=sent,
        start_ns=start_ns,
        end_ns=end_ns,
        kinds=np.fromiter((_kind(span.kind) for span in spans), np.int64, len(spans)),
        texts={
            "operation": pa.array([span.name for span in spans], pa.string()),
            "status": pa.array(["error" if one.code in ERRORS else "ok" for one in statuses], pa.string()),
            "status_message": pa.array([one.message or None for one in statuses], pa.string()),
        },
        wrong=[
            (RejectReason.BAD_EVENT_ID, ids["event_id"][1], "not 16 hexadecimal digits"),
            (RejectReason.BAD_TRACE_ID, ids["trace_id"][1], "not 32 hexadecimal digits"),
            (RejectReason.BAD_PARENT_ID, ids["parent_id"][1], "not 16 hexadecimal digits"),
            (RejectReason.BAD_TIME, bad_start, "startTimeUnixNano is not a time"),
            (RejectReason.BAD_DURATION, bad_end, "endTimeUnixNano is not a time"),
        ],
    )


def _bytes(raws: Sequence[msgspec.Raw] | None) -> Sequence[bytes]:
    return list(map(bytes, raws)) if raws else ()


def _nanoseconds(values: Sequence[int | str | None]) -> tuple[NDArray[np.uint64], Mask | None]:
    try:
        return np.fromiter(map(int, values), np.uint64, len(values)), None  # type: ignore[arg-type]
    except (ValueError, TypeError, OverflowError):
        pass
    times = np.zeros(len(values), np.uint64)
    wrong = np.zeros(len(values), np.bool_)
    for row, value in enumerate(values):
        try:
            times[row] = int(value or 0)
        except (ValueError, OverflowError):
            wrong[row] = True
    return times, wrong


def _kind(kind: int | str | None) -> int:
    """0 for kinds that OTLP does not know."""
    if isinstance(kind, str):
        return KINDS.get(kind, 0)
    return kind if kind is not None and 0 <= kind < len(KINDS) else 0


def _words(raws: Any) -> Words:
    parsed = [_parse(raw) for raw in raws.to_pylist()]
    return Words(
        keys=pa.array([pair[0] if pair else "" for pair in parsed], pa.string()),
        values=pa.array([pair[1] if pair else None for pair in parsed], pa.string()),
        read=np.fromiter((pair is not None for pair in parsed), np.bool_, len(parsed)),
    )


def _parse(raw: bytes) -> tuple[str, str | None] | None:
    try:
        pair = _pair.decode(raw)
        value = _value(pair.value)
        return pair.key, None if value is None else as_text(value)
    except (*Unreadable, msgspec.MsgspecError, ValueError):
        return None


def _value(value: AnyValue | None) -> Any:
    if value is None:
        return None
    if value.string_value is not None:
        return value.string_value
    if value.int_value is not None:
        return int(value.int_value)
    if value.double_value is not None:
        return float(value.double_value)
    if value.array_value is not None:
        return [_value(one) for one in value.array_value.values or ()]
    if value.kvlist_value is not None:
        return {pair.key: _value(pair.value) for pair in value.kvlist_value.values or ()}
    return value.bool_value if value.bytes_value is None else value.bytes_value

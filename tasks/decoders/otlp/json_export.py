"""OTLP/HTTP traces in JSON: ExportTraceServiceRequest with hexadecimal ids and names in lowerCamelCase."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import count, repeat
from typing import Final, NamedTuple

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.decoders.contract import DecodeLimits, Read, UnfitBatch
from tasks.decoders.ids import Mask, hex_ids
from tasks.decoders.json_numbers import whole
from tasks.decoders.json_pieces import Torn
from tasks.decoders.ndjson import DETAIL, Unreadable, bound_strings, bound_values, reason_of
from tasks.decoders.otlp.details import SentSpan, SentSpans
from tasks.decoders.otlp.json_details import (
    details_of,
    kind_of,
    look_around,
    look_around_apart,
    look_at_all,
    origin_of,
    origin_of_slot,
    read_span,
    scopes_of,
)
from tasks.decoders.otlp.json_messages import ExportRequest, Span, Status
from tasks.decoders.otlp.json_slots import slots
from tasks.decoders.otlp.json_values import words
from tasks.decoders.otlp.slots import Unread, bound_events, read_apart
from tasks.decoders.otlp.spans import Spans, table
from tasks.decoders.reasons import RejectReason, UnfitReason
from tasks.decoders.rows import picked
from tasks.events.otlp_values import Number

ERRORS: Final = frozenset((2, "2", "STATUS_CODE_ERROR"))
NO_STATUS: Final = Status()
_request = msgspec.json.Decoder(ExportRequest[Span])


class Export(NamedTuple):
    """The spans of one export in order, how many each resource has, and the attributes of the resources; who
    makes the details of the spans, and the bytes of them that spans share, once for each span.
    """

    spans: list[Span]
    sizes: list[int]
    resources: list[list[msgspec.Raw] | None]
    sent: SentSpans
    shared_bytes: int


def read(data: bytes, limits: DecodeLimits) -> Read:
    """An ExportTraceServiceRequest. What of it can't be read is rejected alone.

    Raises `UnfitBatch`: malformed, not_understood, too_many_values, too_many_events, too_large,
    too_many_rejects.
    """
    with suppress(*Unreadable):
        return together([parse(data, limits)[1]], limits)
    return _read_apart(data, limits)


def parse(data: bytes, limits: DecodeLimits) -> tuple[int, Export]:
    """How many spans, and these, when nothing may hide behind another name.

    Raises what is in `Unreadable`, and `UnfitBatch`: too_many_values, too_many_events.
    """
    bound_values(data, limits)
    groups = _request.decode(data).resource_spans or []
    scopes = [[scope.spans or [] for scope in group.scopes] for group in groups]
    if not scopes or not all(map(all, scopes)) or not all(scopes):
        raise msgspec.DecodeError("a group or a scope that seems empty")
    sizes = [sum(map(len, spans)) for spans in scopes]
    bound_events(sum(sizes), limits)
    try:
        shared = [
            look_around(group, scope) * len(scope.spans or ()) for group in groups for scope in group.scopes
        ]
    except Unread as error:
        raise msgspec.DecodeError(error.detail) from None
    spans = [span for lists in scopes for one in lists for span in one]
    resources = [group.resource.attributes if group.resource else None for group in groups]
    sent = SentSpans(data, scopes_of, origin_of, details_of)
    return len(spans), Export(spans, sizes, resources, sent, sum(shared))


def together(exports: Sequence[Export], limits: DecodeLimits) -> Read:
    """The spans of one export or many.

    Raises `UnfitBatch` (too_many_values, too_large, too_many_rejects), and msgspec.DecodeError when one has
    no trace id, perhaps since it has another name.
    """
    spans = [span for export in exports for span in export.spans]
    sizes = [size for export in exports for size in export.sizes]
    resources = [_bytes(one) for export in exports for one in export.resources]
    shared_bytes = sum(export.shared_bytes for export in exports)
    detailed = [
        one for export in exports for one in map(SentSpan, repeat(export.sent, len(export.spans)), count())
    ]
    columns = _columns(spans, sizes, resources, detailed)
    if columns.ids["trace_id"][0].null_count:
        raise msgspec.DecodeError("a span without a trace id")
    return replace(table(columns, words, limits), shared_bytes=shared_bytes)


def pick(data: bytes, rows: Sequence[int]) -> Iterator[bytes]:
    """As `Format.pick`: requests with one span, its scope and its resource."""
    return picked(slots(data), rows)


def _read_apart(data: bytes, limits: DecodeLimits) -> Read:
    """Part by part: for exports that don't parse as a whole, that use other names, or that seem empty."""
    bound_strings(data, limits)
    try:
        apart = read_apart(slots(data), _read_span, look_around_apart, limits)
    except Torn as error:
        raise UnfitBatch(UnfitReason.MALFORMED, f"not a trace export: {error}"[:DETAIL]) from None
    shared_bytes = sum(apart.shared)
    sent = SentSpans(data, slots, origin_of_slot, details_of)
    detailed = list(map(SentSpan, repeat(sent), apart.places))
    columns = _columns(apart.spans, apart.sizes, apart.resources, detailed)
    read = replace(table(columns, words, limits), shared_bytes=shared_bytes)
    return read.moved(apart.places, apart.bad)


def _read_span(text: bytes) -> Span:
    try:
        return read_span(text)
    except Unreadable as error:
        raise Unread(reason_of(error), str(error)[:DETAIL]) from None


def _columns(
    spans: Sequence[Span],
    sizes: Sequence[int],
    resources: Sequence[Sequence[bytes]],
    detailed: Sequence[SentSpan],
) -> Spans:
    sent = {
        "event_id": pa.array([span.span_id for span in spans], pa.string()),
        "trace_id": pa.array([span.trace_id for span in spans], pa.string()),
        "parent_id": pa.array([span.parent_span_id for span in spans], pa.string()),
    }
    ids = {name: hex_ids(values, 16 if name == "trace_id" else 8) for name, values in sent.items()}
    start_ns, bad_start = _nanoseconds([span.start_time_unix_nano for span in spans])
    end_ns, bad_end = _nanoseconds([span.end_time_unix_nano for span in spans])
    statuses = [span.status or NO_STATUS for span in spans]
    looked = look_at_all(spans)
    for row in looked.exceptional:
        detailed[row].exceptional = True
    return Spans(
        resources=resources,
        sizes=sizes,
        attributes=[_bytes(span.attributes) for span in spans],
        ids=ids,
        start_ns=start_ns,
        end_ns=end_ns,
        kinds=np.fromiter((kind_of(span.kind) for span in spans), np.int64, len(spans)),
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
            *looked.wrong(len(spans)),
        ],
        detailed=detailed,
    )


def _bytes(raws: Sequence[msgspec.Raw] | None) -> Sequence[bytes]:
    return list(map(bytes, raws)) if raws else ()


def _nanoseconds(values: Sequence[Number | None]) -> tuple[NDArray[np.uint64], Mask | None]:
    with suppress(TypeError, pa.ArrowInvalid):  # other spellings than the usual one
        digits = "".join(values)  # type: ignore[arg-type]
        if digits.isascii() and digits.isdigit():
            return np.asarray(pa.array(values, pa.string()).cast(pa.uint64())), None
    times = np.zeros(len(values), np.uint64)
    wrong = np.zeros(len(values), np.bool_)
    for row, value in enumerate(values):
        try:
            times[row] = whole(value, 0, 2**64 - 1) if value is not None else 0
        except ValueError:
            wrong[row] = True
    return times, wrong

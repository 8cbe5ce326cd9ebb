"""OTLP/HTTP traces in protobuf: ExportTraceServiceRequest. docs/formats.md says what becomes of it."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
from google.protobuf.message import DecodeError

from tasks.decoders.contract import DecodeLimits, Read, UnfitBatch
from tasks.decoders.ids import Mask, binary_ids
from tasks.decoders.otlp.details import SentSpan, SentSpans, look
from tasks.decoders.otlp.protobuf_details import details_of, look_around, look_at, origin_of
from tasks.decoders.otlp.protobuf_messages import Group, Request, ScopeSpans, Span, Status
from tasks.decoders.otlp.protobuf_pairs import words
from tasks.decoders.otlp.protobuf_slots import slots
from tasks.decoders.otlp.slots import Unread, bound_events, read_apart
from tasks.decoders.otlp.spans import Spans, table
from tasks.decoders.reasons import RejectReason, UnfitReason
from tasks.decoders.rows import picked

ERROR: Final = 2  # Status.StatusCode
# First bytes of the tags of messages, and how many of each a value may come with: spans and values are field
# 2, a span's attributes, events and links fields 9, 11 and 13, scopes also field 1000, all else field 1.
TAGS: Final = ((0x12, 1), (0x4A, 1), (0x5A, 1), (0x6A, 1), (0xC2, 1), (0x0A, 2))
OVERLONG: Final = 0x80  # protobuf also takes a tag with needless bytes


def read(data: bytes, limits: DecodeLimits) -> Read:
    """An ExportTraceServiceRequest. What of it can't be read is rejected alone.

    Raises `UnfitBatch`: malformed, not_understood, too_many_values, too_many_events, too_large,
    too_many_rejects.
    """
    bound_values(data, limits)
    try:
        groups = Request.FromString(data).resource_spans
    except DecodeError:
        return _read_apart(data, limits)
    scopes = [group.scope_spans or group.instrumentation_library_spans for group in groups]
    spans_of = [[scope.spans for scope in one] for one in scopes]
    if not all(map(all, spans_of)) or not all(spans_of) or not spans_of:  # something may be there in disguise
        return _read_apart(data, limits)
    sizes = [sum(map(len, one)) for one in spans_of]
    bound_events(sum(sizes), limits)
    try:
        shared = sum(
            look_around(group, scope) * len(scope.spans)
            for group, of_group in zip(groups, scopes, strict=True)
            for scope in of_group
        )
    except Unread:
        return _read_apart(data, limits)
    spans = [span for one in spans_of for scope in one for span in scope]
    resources = [list(group.resource.attributes) for group in groups]
    return _table(data, range(len(spans)), spans, resources, sizes, shared, limits)


def pick(data: bytes, rows: Sequence[int]) -> Iterator[bytes]:
    """As `Format.pick`: requests with one span, its scope and its resource."""
    return picked(slots(data), rows)


def _read_apart(data: bytes, limits: DecodeLimits) -> Read:
    """Part by part: for exports that don't parse as a whole, and those with parts that seem to be empty."""
    try:
        apart = read_apart(slots(data), _read_span, _look_around, limits)
    except DecodeError as error:
        raise UnfitBatch(UnfitReason.MALFORMED, f"not an ExportTraceServiceRequest: {error}"[:200]) from None
    read = _table(data, apart.places, apart.spans, apart.resources, apart.sizes, sum(apart.shared), limits)
    return read.moved(apart.places, apart.bad)


def _read_span(data: bytes) -> Any:
    try:
        return Span.FromString(data)
    except DecodeError as error:
        raise Unread(RejectReason.BAD_FIELD, f"not a Span: {error}"[:200]) from None


def _look_around(group: bytes, scope: bytes) -> int:
    try:
        return look_around(Group.FromString(group), ScopeSpans.FromString(scope))
    except DecodeError as error:
        raise Unread(RejectReason.BAD_DETAILS, f"the scope or a schema URL: {error}"[:200]) from None


def _table(
    data: bytes,
    places: Sequence[int],
    spans: Sequence[Any],
    resources: Sequence[Sequence[bytes]],
    sizes: Sequence[int],
    shared_bytes: int,
    limits: DecodeLimits,
) -> Read:
    held = [list(span.attributes) for span in spans]
    if sum(map(len, held)) + sum(map(len, resources)) > limits.values:
        raise UnfitBatch(UnfitReason.TOO_MANY_VALUES, f"more than {limits.values} attributes")
    sent = SentSpans(data, slots, origin_of, details_of)
    detailed = [SentSpan(sent, place) for place in places]
    columns = _columns(spans, held, resources, sizes, detailed)
    return replace(table(columns, words, limits), shared_bytes=shared_bytes)


def bound_values(data: bytes, limits: DecodeLimits) -> None:
    """Refuse what would become too many messages: each costs two bytes as sent, a hundred when parsed.

    A message needs its tag, so the bytes that look like one are never fewer.
    """
    if len(data) <= 2 * limits.values:
        return
    for tag, share in TAGS:
        if sum(map(data.count, {tag, tag | OVERLONG})) > share * limits.values:
            raise UnfitBatch(UnfitReason.TOO_MANY_VALUES, f"more than {limits.values} messages")


def _columns(
    spans: Sequence[Any],
    attributes: Sequence[Sequence[bytes]],
    resources: Sequence[Sequence[bytes]],
    sizes: Sequence[int],
    detailed: Sequence[SentSpan],
) -> Spans:
    sent = {
        "event_id": pa.array([span.span_id for span in spans], pa.binary()),
        "trace_id": pa.array([span.trace_id for span in spans], pa.binary()),
        "parent_id": pa.array([span.parent_span_id for span in spans], pa.binary()),
    }
    ids = {name: binary_ids(values, 16 if name == "trace_id" else 8) for name, values in sent.items()}
    operation, bad_name = _texts([span.name for span in spans])
    statuses = [span.status for span in spans]
    known = {status: _status(status) for status in set(statuses)}
    messages, bad_message = _texts([known[status][1] for status in statuses])
    given = (span.trace_state or span.events or span.links for span in spans)
    looked = look((row, partial(look_at, spans[row])) for row, any_ in enumerate(given) if any_)
    for row in looked.exceptional:
        detailed[row].exceptional = True
    return Spans(
        resources=resources,
        sizes=sizes,
        attributes=attributes,
        ids=ids,
        start_ns=np.array([span.start_time_unix_nano for span in spans], np.uint64),
        end_ns=np.array([span.end_time_unix_nano for span in spans], np.uint64),
        kinds=np.array([span.kind for span in spans], np.int64),
        texts={
            "operation": operation,
            "status": pa.array([known[status][0] for status in statuses], pa.string()),
            "status_message": messages,
        },
        wrong=[
            (RejectReason.BAD_EVENT_ID, ids["event_id"][1], "not 8 bytes"),
            (RejectReason.BAD_TRACE_ID, ids["trace_id"][1], "not 16 bytes"),
            (RejectReason.BAD_PARENT_ID, ids["parent_id"][1], "not 8 bytes"),
            (RejectReason.BAD_UTF8, bad_name, "the name is not UTF-8"),
            (RejectReason.BAD_UTF8, bad_message, "the status message is not UTF-8"),
            *looked.wrong(len(spans)),
        ],
        detailed=detailed,
    )


def _texts(values: Sequence[bytes | None]) -> tuple[Any, Mask | None]:
    """Strings, and which are not UTF-8 (their bad bytes replaced)."""
    try:
        return pa.array(values, pa.binary()).cast(pa.string()), None
    except pa.ArrowInvalid:
        texts = [None if value is None else value.decode(errors="replace") for value in values]
        wrong = [text is not None and text.encode() != sent for text, sent in zip(texts, values, strict=True)]
        return pa.array(texts, pa.string()), np.asarray(wrong)


def _status(raw: bytes) -> tuple[str | None, bytes | None]:
    """Status and message; one that can't be read has a status that validation rejects."""
    try:
        status = Status.FromString(raw)
    except DecodeError:
        return "unreadable", None
    return "error" if status.code == ERROR else "ok", status.message or None

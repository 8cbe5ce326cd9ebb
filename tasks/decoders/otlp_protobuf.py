"""OTLP/HTTP traces in protobuf: ExportTraceServiceRequest. docs/formats.md says what becomes of it."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import pyarrow as pa
from google.protobuf.message import DecodeError

from tasks.decoders.contract import DecodeLimits, Read, UnfitBatch
from tasks.decoders.ids import Mask, binary_ids
from tasks.decoders.otlp_messages import Request, Status
from tasks.decoders.otlp_pairs import words
from tasks.decoders.otlp_spans import Spans, table
from tasks.decoders.reasons import RejectReason, UnfitReason

ERROR: Final = 2  # Status.StatusCode
# First bytes of the tags of messages, and how many of each a value may come with: spans and values are field
# 2, a span's attributes field 9, all else field 1.
TAGS: Final = ((0x12, 1), (0x4A, 1), (0x0A, 2))
OVERLONG: Final = 0x80  # protobuf also takes a tag with needless bytes


def read(data: bytes, limits: DecodeLimits) -> Read:
    """An ExportTraceServiceRequest.

    Raises `UnfitBatch`: malformed, too_many_values, too_many_events, too_large, too_many_rejects.
    """
    _bound_values(data, limits)
    try:
        request = Request.FromString(data)
    except DecodeError as error:
        raise UnfitBatch(UnfitReason.MALFORMED, f"not an ExportTraceServiceRequest: {error}"[:200]) from None
    groups = [[scope.spans for scope in group.scope_spans] for group in request.resource_spans]
    sizes = [sum(map(len, scopes)) for scopes in groups]
    if sum(sizes) > limits.events:
        raise UnfitBatch(UnfitReason.TOO_MANY_EVENTS, f"more than {limits.events} spans")
    spans = [span for scopes in groups for scope in scopes for span in scope]
    held = [span.attributes for span in spans]
    resources = [group.resource.attributes for group in request.resource_spans]
    if sum(map(len, held)) + sum(map(len, resources)) > limits.values:
        raise UnfitBatch(UnfitReason.TOO_MANY_VALUES, f"more than {limits.values} attributes")
    return table(_columns(spans, list(map(list, held)), list(map(list, resources)), sizes), words, limits)


def _bound_values(data: bytes, limits: DecodeLimits) -> None:
    """Refuse what would become too many messages: each costs two bytes as sent, a hundred when parsed.

    A message needs its tag, so the bytes that look like one are never fewer.
    """
    if len(data) <= 2 * limits.values:
        return
    for tag, share in TAGS:
        if data.count(tag) + data.count(tag | OVERLONG) > share * limits.values:
            raise UnfitBatch(UnfitReason.TOO_MANY_VALUES, f"more than {limits.values} messages")


def _columns(
    spans: Sequence[Any],
    attributes: Sequence[Sequence[bytes]],
    resources: Sequence[Sequence[bytes]],
    sizes: Sequence[int],
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
    return Spans(
        resources=resources,
        sizes=sizes,
        attributes=attributes,
        ids=ids,
        sent=sent,
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
        ],
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

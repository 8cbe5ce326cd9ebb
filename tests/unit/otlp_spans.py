"""Random OTLP trace exports with all that a span can say, and what has to be given back of them."""

import json
from typing import Any

from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.unit import decode_samples as samples

START_NS = samples.START_US * 1_000
KEYS = st.sampled_from(["a", "b", "ключ", "user.id", "service.name", ""])
TEXTS = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=6)
COUNTS = st.sampled_from([0, 1, 2**32 - 1])
URLS = st.sampled_from(["", "https://opentelemetry.io/schemas/1.30.0"])
BYTES = st.binary(max_size=5)
# Later releases may have more kinds and statuses.
ENUMS = st.sampled_from([0, 1, 2, 3, 4, 5, 6, 127, 128, -1, -(2**31), 2**31 - 1])
TIMES = st.integers(0, 2**64 - 1)


@st.composite
def exports(draw: st.DrawFn) -> ExportTraceServiceRequest:
    """One to four spans that are accepted, in one resource or two, in one scope each or two."""
    made = ExportTraceServiceRequest()
    for _ in range(draw(st.integers(1, 2))):
        group = made.resource_spans.add(schema_url=draw(URLS))
        if draw(st.booleans()):
            _fill(draw, group.resource)
        for _ in range(draw(st.integers(1, 2))):
            around = group.scope_spans.add(schema_url=draw(URLS))
            if draw(st.booleans()):
                around.scope.name, around.scope.version = draw(TEXTS), draw(TEXTS)
                _fill(draw, around.scope)
            _span(draw, around.spans.add())
    for number, span in enumerate(spans_of(made), 1):
        span.span_id = number.to_bytes(8)
    return made


def spans_of(export: ExportTraceServiceRequest) -> list[Any]:
    """Its spans in order."""
    return [span for group in export.resource_spans for scope in group.scope_spans for span in scope.spans]


def said(export: dict[str, Any]) -> list[str]:
    """What an export in JSON says of each span, by span id: its resource, its scope, their schema URLs, and
    itself. What has its default value is left out.
    """
    spans = [
        {
            "resource": group.get("resource") or {},
            "url": group.get("schemaUrl", ""),
            "scope": scope.get("scope") or {},
            "scope's url": scope.get("schemaUrl", ""),
            "span": {name: value for name, value in span.items() if value not in ({}, [])},
        }
        for group in export["resourceSpans"]
        for scope in group["scopeSpans"]
        for span in scope["spans"]
    ]
    return [json.dumps(one, sort_keys=True) for one in sorted(spans, key=lambda one: one["span"]["spanId"])]


def written(export: ExportTraceServiceRequest) -> dict[str, Any]:
    """The export as OTLP's JSON has it."""
    document: dict[str, Any] = json.loads(samples.otlp_json(export))
    return document


def _span(draw: st.DrawFn, span: Any) -> None:
    span.trace_id = draw(st.sampled_from([b"t" * 16, b"\xff" * 16]))
    span.parent_span_id = draw(st.sampled_from([b"", b"p" * 8]))
    span.trace_state, span.flags = draw(TEXTS), draw(COUNTS)
    span.name, span.kind = draw(TEXTS), draw(ENUMS)
    span.start_time_unix_nano = START_NS + draw(st.integers(0, 10**9))
    span.end_time_unix_nano = span.start_time_unix_nano + draw(st.integers(0, 10**9))
    span.status.code, span.status.message = draw(ENUMS), draw(TEXTS)
    span.dropped_events_count, span.dropped_links_count = draw(COUNTS), draw(COUNTS)
    _fill(draw, span)
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(["exception", "", "é"]))
        _fill(draw, span.events.add(time_unix_nano=draw(TIMES), name=name))
    for _ in range(draw(st.integers(0, 2))):
        link = span.links.add(trace_state=draw(TEXTS), flags=draw(COUNTS))
        link.trace_id, link.span_id = draw(st.sampled_from([(b"", b""), (b"\xab" * 16, b"l" * 8)]))
        _fill(draw, link)


def _fill(draw: st.DrawFn, owner: Any) -> None:
    owner.dropped_attributes_count = draw(COUNTS)
    for key in draw(st.lists(KEYS, max_size=3)):
        pair = owner.attributes.add(key=key)
        if draw(st.booleans()):
            _value(draw, pair.value, 3)


def _value(draw: st.DrawFn, value: Any, depth: int) -> None:
    value.SetInParent()
    kind = draw(st.integers(0, 7 if depth else 5))
    if kind == 1:
        value.string_value = draw(TEXTS)
    elif kind == 2:
        value.bool_value = draw(st.booleans())
    elif kind == 3:
        value.int_value = draw(st.integers(-(2**63), 2**63 - 1))
    elif kind == 4:
        value.double_value = draw(st.floats())
    elif kind == 5:
        value.bytes_value = draw(BYTES)
    elif kind == 6:
        value.array_value.SetInParent()
        for _ in range(draw(st.integers(0, 2))):
            _value(draw, value.array_value.values.add(), depth - 1)
    elif kind == 7:
        value.kvlist_value.SetInParent()
        for key in draw(st.lists(KEYS, max_size=2)):
            _value(draw, value.kvlist_value.values.add(key=key).value, depth - 1)

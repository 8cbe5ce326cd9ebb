"""OTLP's trace messages in JSON, as far as they are kept; a field that is null is as good as none."""

from typing import Generic, TypeVar

import msgspec

from tasks.events import KeyValue
from tasks.events.otlp_values import Camel, Number

SpanOf = TypeVar("SpanOf")  # Span, or msgspec.Raw where spans wait as bytes


class Status(Camel):
    """OTLP's Status; `code` is a number or its enum's name."""

    message: str | None = None
    code: int | str | None = None


class Span(Camel):
    """OTLP's Span; attributes wait as bytes until each distinct one is read, events and links until somebody
    looks at them.
    """

    trace_id: str | None = None
    span_id: str | None = None
    trace_state: str | None = None
    parent_span_id: str | None = None
    name: str | None = None
    kind: int | str | None = None
    start_time_unix_nano: Number | None = None
    end_time_unix_nano: Number | None = None
    attributes: list[msgspec.Raw] | None = None
    dropped_attributes_count: Number | None = None
    events: list[msgspec.Raw] | None = None
    dropped_events_count: Number | None = None
    links: list[msgspec.Raw] | None = None
    dropped_links_count: Number | None = None
    status: Status | None = None
    flags: Number | None = None


class ExportedEvent(Camel):
    """OTLP's Span.Event as it was sent."""

    time_unix_nano: Number | None = None
    name: str | None = None
    attributes: list[KeyValue] | None = None
    dropped_attributes_count: Number | None = None


class ExportedLink(Camel):
    """OTLP's Span.Link as it was sent."""

    trace_id: str | None = None
    span_id: str | None = None
    trace_state: str | None = None
    attributes: list[KeyValue] | None = None
    dropped_attributes_count: Number | None = None
    flags: Number | None = None


class ExportedScope(Camel):
    """OTLP's InstrumentationScope, and the InstrumentationLibrary that came before it, as they were sent."""

    name: str | None = None
    version: str | None = None
    attributes: list[KeyValue] | None = None
    dropped_attributes_count: Number | None = None


class Resource(Camel):
    """OTLP's Resource."""

    attributes: list[msgspec.Raw] | None = None
    dropped_attributes_count: Number | None = None


class AroundSpans(Camel):
    """OTLP's ScopeSpans without its spans."""

    scope: msgspec.Raw = msgspec.Raw()
    instrumentation_library: msgspec.Raw = msgspec.Raw()  # read where there is no scope
    schema_url: str | None = None
    snake_url: str | None = msgspec.field(default=None, name="schema_url")


class Scope(AroundSpans, Generic[SpanOf]):
    """OTLP's ScopeSpans, and the InstrumentationLibrarySpans that came before it."""

    spans: list[SpanOf] | None = None


class AroundScopes(Camel):
    """OTLP's ResourceSpans without its scopes."""

    resource: Resource | None = None
    schema_url: str | None = None
    snake_url: str | None = msgspec.field(default=None, name="schema_url")


class Group(AroundScopes, Generic[SpanOf]):
    """OTLP's ResourceSpans."""

    scope_spans: list[Scope[SpanOf]] | None = None
    instrumentation_library_spans: list[Scope[SpanOf]] | None = None  # read where there are no scope_spans

    @property
    def scopes(self) -> list[Scope[SpanOf]]:
        """Those that count."""
        return self.scope_spans or self.instrumentation_library_spans or []


class ExportRequest(Camel, Generic[SpanOf]):
    """OTLP's ExportTraceServiceRequest."""

    resource_spans: list[Group[SpanOf]] | None = None

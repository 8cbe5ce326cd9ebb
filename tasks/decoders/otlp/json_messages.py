"""OTLP's trace messages in JSON, as far as they become events; a field that is null is as good as none."""

import msgspec

from tasks.events.otlp_values import Camel, Number


class Status(Camel):
    """OTLP's Status; `code` is a number or its enum's name."""

    message: str | None = None
    code: int | str | None = None


class Span(Camel):
    """OTLP's Span as far as it becomes an event; attributes wait as bytes until each distinct one is read."""

    trace_id: str | None = None
    span_id: str | None = None
    parent_span_id: str | None = None
    name: str | None = None
    kind: int | str | None = None
    start_time_unix_nano: Number | None = None
    end_time_unix_nano: Number | None = None
    attributes: list[msgspec.Raw] | None = None
    status: Status | None = None


class Resource(Camel):
    """OTLP's Resource."""

    attributes: list[msgspec.Raw] | None = None


class Scope(Camel):
    """OTLP's ScopeSpans, and the InstrumentationLibrarySpans that came before it."""

    spans: list[Span] | None = None


class Group(Camel):
    """OTLP's ResourceSpans."""

    resource: Resource | None = None
    scope_spans: list[Scope] | None = None
    instrumentation_library_spans: list[Scope] | None = None  # read where there are no scope_spans

    @property
    def scopes(self) -> list[Scope]:
        """Those that count."""
        return self.scope_spans or self.instrumentation_library_spans or []


class ExportRequest(Camel):
    """OTLP's ExportTraceServiceRequest."""

    resource_spans: list[Group] | None = None

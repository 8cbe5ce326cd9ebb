"""Spans by the OpenTelemetry SDK: what is sampled, how it goes to the collector, and what is dropped."""

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import structlog
from opentelemetry import baggage, trace
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from environment.errors import Misconfigured
from tracing import collector
from tracing.attributes import CUSTOMER, Attributes, Kind
from tracing.sampling import sampler

log = structlog.get_logger("tracing")

STOP_S = 3.0
"""So long does a process wait at its end for its last spans to go."""
MOST_WAITING = 2048
"""Spans that wait for the collector; those that come then are dropped."""
SAY_S = 60.0
"""At most once in so many seconds is it logged that spans were dropped."""

_SERVICE, _UNKNOWN = "service.name", "unknown_service"
_KINDS: Mapping[Kind, SpanKind] = {
    "internal": SpanKind.INTERNAL,
    "server": SpanKind.SERVER,
    "producer": SpanKind.PRODUCER,
    "consumer": SpanKind.CONSUMER,
}
_TRACE, _BAGGAGE = TraceContextTextMapPropagator(), W3CBaggagePropagator()


class Dropped:
    """Counts spans that never reach the collector, and says so now and then."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._spans = 0
        self._said_s: float | None = None

    def count(self, spans: int, reason: str) -> None:
        """`reason`: queue_full or export_failed."""
        with self._lock:
            self._spans += spans
            now_s = time.monotonic()
            if self._said_s is not None and now_s - self._said_s < SAY_S:
                return
            spans, self._spans, self._said_s = self._spans, 0, now_s
        log.warning("spans_dropped", spans=spans, reason=reason)


class BoundedQueue:
    """How many spans wait; the SDK's own queue drops the oldest ones without a count."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._waiting = 0

    def put(self) -> bool:
        """False when it is full."""
        with self._lock:
            fits = self._waiting < self._most
            self._waiting += fits
        return fits

    def take(self, spans: int) -> None:
        with self._lock:
            self._waiting -= spans


class CountedExporter(SpanExporter):
    """Hands spans to the collector; those that it does not get are counted."""

    def __init__(self, exporter: SpanExporter, waiting: BoundedQueue, dropped: Dropped) -> None:
        self._exporter = exporter
        self._waiting = waiting
        self._dropped = dropped

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Within the exporter's own deadline, OTEL_EXPORTER_OTLP_TIMEOUT; never raises."""
        self._waiting.take(len(spans))
        try:
            result = self._exporter.export(spans)
        except Exception:  # of whatever kind: tracing must not end the thread that exports
            result = SpanExportResult.FAILURE
        if result is not SpanExportResult.SUCCESS:
            self._dropped.count(len(spans), "export_failed")
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


class BoundedProcessor(BatchSpanProcessor):
    """Batches spans for a thread of its own that exports them."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._bounded, self._dropped = BoundedQueue(MOST_WAITING), Dropped()
        super().__init__(CountedExporter(exporter, self._bounded, self._dropped), max_queue_size=MOST_WAITING)

    def on_end(self, span: ReadableSpan) -> None:
        if span.context is None or not span.context.trace_flags.sampled:
            return
        if self._bounded.put():
            super().on_end(span)
        else:
            self._dropped.count(1, "queue_full")


class Recording:
    """The SDK's parts in this process. Made after the fork: it has a thread."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("sluice")

    def end(self) -> None:
        """Send what waits, for `STOP_S` at most."""
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        thread.join(STOP_S)

    @contextmanager
    def span(
        self,
        name: str,
        kind: Kind,
        attributes: Attributes,
        parent: Mapping[str, str] | None,
        link: str | None,
        started_ns: int | None,
        error: str | None,
    ) -> Iterator[None]:
        """See `Tracer.span`."""
        context = _extracted(parent) if parent else None
        customer = baggage.get_baggage(CUSTOMER, context)
        told = dict(attributes) | ({CUSTOMER: customer} if isinstance(customer, str) else {})
        with self._tracer.start_as_current_span(
            name,
            context=context,
            kind=_KINDS[kind],
            attributes=told,
            links=_links(link),
            start_time=started_ns,
            record_exception=False,  # its text may hold what an agent sent
            set_status_on_exception=False,
        ) as span:
            if error is not None:
                _failed(span, error)
            try:
                yield
            except BaseException as raised:
                _failed(span, type(raised).__name__)
                raise

    def child(self, name: str) -> AbstractContextManager[None]:
        """See `Tracer.child`."""
        if not trace.get_current_span().get_span_context().is_valid:
            return nullcontext()
        return self.span(name, "internal", {}, None, None, None, None)

    def headers(self, slug: str) -> dict[str, str]:
        """See `Tracer.headers`."""
        carried: dict[str, str] = {}
        if trace.get_current_span().get_span_context().is_valid:
            _TRACE.inject(carried)
            _BAGGAGE.inject(carried, baggage.set_baggage(CUSTOMER, slug))
        return carried


def begin(process: str) -> Recording | None:
    """Make the SDK's parts by its own environment variables; None, with a line in the log, if it cannot."""
    # Its lines are for developers, with tracebacks; what an operator needs to know is logged by us.
    sdk = logging.getLogger("opentelemetry")
    sdk.propagate = False
    sdk.addHandler(logging.NullHandler())
    if collector.protocol() != collector.SPOKEN:
        log.warning("traces_misconfigured", detail=f"the OTLP protocol has to be {collector.SPOKEN}")
        return None
    try:
        provider = TracerProvider(sampler=sampler(), resource=_resource(process), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(headers=collector.headers_from_file() or None)
        provider.add_span_processor(BoundedProcessor(exporter))
    except Misconfigured as error:
        log.warning("traces_misconfigured", detail=str(error))
        return None
    except Exception as error:  # by a variable that the SDK refuses; the process works without traces
        log.warning("traces_misconfigured", detail=f"the SDK refuses the settings: {type(error).__name__}")
        return None
    return Recording(provider)


def _resource(process: str) -> Resource:
    """OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win."""
    found = Resource.create()
    if not str(found.attributes.get(_SERVICE, "")).startswith(_UNKNOWN):
        return found
    return found.merge(Resource({_SERVICE: f"sluice-{process}"}))


def _extracted(carried: Mapping[str, str]) -> Context:
    return _BAGGAGE.extract(carried, _TRACE.extract(carried, Context()))


def _links(traceparent: str | None) -> list[trace.Link]:
    if traceparent is None:
        return []
    context = _TRACE.extract({"traceparent": traceparent}, Context())
    found = trace.get_current_span(context).get_span_context()
    return [trace.Link(found)] if found.is_valid else []


def _failed(span: trace.Span, error: str) -> None:
    span.set_status(Status(StatusCode.ERROR))
    span.set_attribute("error.type", error)

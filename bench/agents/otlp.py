"""Spans as an OTLP trace export request: one resource a process, as the SDKs in the processes would send."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

#: attributes that OpenTelemetry's conventions give to a process, not to its spans; its name is a column
OF_RESOURCE = frozenset(
    (
        "k8s.pod.name", "service.namespace", "service.version", "service.instance.id",
        "deployment.environment.name", "host.name", "process.pid", "process.runtime.name",
        "telemetry.sdk.language", "telemetry.sdk.name", "telemetry.sdk.version",
    )
)  # fmt: skip
#: attributes that instrumentations set as whole numbers
NUMBERS = frozenset(
    (
        "process.pid", "http.response.status_code", "http.request.body.size", "http.response.body.size",
        "server.port", "client.port", "network.local.port", "thread.id", "code.line.number",
        "db.response.returned_rows", "app.item.count", "app.elapsed_us",
    )
)  # fmt: skip
_NUMBER = re.compile("0|[1-9][0-9]{0,17}")
EXCEPTION = "error.type"  # a span that has it records the exception as an event at its end
SCOPE = "sluice.bench"
KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}  # 0: not said
ERROR = 2  # a status that is not an error stays unset, as SDKs leave it


Pairs = tuple[tuple[str, str], ...]


@dataclass(slots=True)
class _Row:
    trace_id: bytes
    span_id: bytes
    parent_id: bytes | None
    start_ns: int
    end_ns: int
    operation: str
    kind: int
    failed: bool
    attributes: list[tuple[str, str]]


def to_protobuf(spans: pa.Table) -> bytes:
    """The serialised ExportTraceServiceRequest."""
    request = ExportTraceServiceRequest()
    for said, rows in _by_resource(spans).items():
        resource = request.resource_spans.add()
        resource.resource.attributes.extend(_pairs(said))
        scope = resource.scope_spans.add()
        scope.scope.name = SCOPE
        scope.spans.extend(_message(row) for row in rows)
    return request.SerializeToString(deterministic=True)


def to_json(spans: pa.Table) -> bytes:
    """The same in OTLP's JSON: ids in hex, 64-bit integers as strings."""
    resources = [
        {
            "resource": {"attributes": _objects(said)},
            "scopeSpans": [{"scope": {"name": SCOPE}, "spans": [_object(row) for row in rows]}],
        }
        for said, rows in _by_resource(spans).items()
    ]
    return msgspec.json.encode({"resourceSpans": resources})


def _by_resource(spans: pa.Table) -> dict[Pairs, list[_Row]]:
    """Rows by the attributes of their resources."""
    found: dict[Pairs, list[_Row]] = {}
    for service, row in _rows(spans):
        shared = {key: value for key, value in row.attributes if key in OF_RESOURCE}
        said = {key: value for key, value in shared.items() if value}
        row.attributes = [pair for pair in row.attributes if pair[0] not in said]
        found.setdefault((("service.name", service), *said.items()), []).append(row)
    return found


def _rows(spans: pa.Table) -> Iterator[tuple[str, _Row]]:
    columns = zip(
        spans["trace_id"].to_pylist(),
        spans["span_id"].to_pylist(),
        spans["parent_id"].to_pylist(),
        pc.cast(spans["started_at"], pa.int64()).to_pylist(),
        spans["duration_us"].to_pylist(),
        spans["service"].to_pylist(),
        spans["operation"].to_pylist(),
        spans["kind"].to_pylist(),
        spans["status"].to_pylist(),
        spans["attributes"].to_pylist(),
        strict=True,
    )
    for trace, span, parent, start, duration, service, operation, kind, status, pairs in columns:
        begins, ends = start * 1_000, (start + duration) * 1_000
        code = KINDS.get((kind or "").lower(), 0)
        yield (
            service,
            _Row(trace, span, parent, begins, ends, operation, code, status == "error", pairs or []),
        )


def _pairs(pairs: Iterable[tuple[str, str]]) -> list[KeyValue]:
    return [
        KeyValue(
            key=key,
            value=AnyValue(int_value=int(value)) if _is_number(key, value) else AnyValue(string_value=value),
        )
        for key, value in pairs
    ]


def _message(row: _Row) -> SpanMessage:
    message = SpanMessage(
        trace_id=row.trace_id,
        span_id=row.span_id,
        parent_span_id=row.parent_id or b"",
        name=row.operation,
        kind=row.kind,  # type: ignore[arg-type]
        start_time_unix_nano=row.start_ns,
        end_time_unix_nano=row.end_ns,
        attributes=_pairs(row.attributes),
    )
    if row.failed:
        message.status.code = ERROR  # type: ignore[assignment]
    if said := _exception(row):
        event = message.events.add()
        event.time_unix_nano, event.name = row.end_ns, "exception"
        event.attributes.extend(_pairs(said))
    return message


def _exception(row: _Row) -> list[tuple[str, str]]:
    """The attributes of the event, empty when there was no exception."""
    name = next((value for key, value in row.attributes if key == EXCEPTION), "")
    if not name:
        return []
    trace = "".join(
        f'  File "shop/{row.operation}/step{at}.py", line {7 * at}, in run\n' for at in range(1, 7)
    )
    message = f"{name}: no answer after {(row.end_ns - row.start_ns) // 1_000} us"
    return [
        ("exception.type", name),
        ("exception.message", message),
        ("exception.stacktrace", f"Traceback (most recent call last):\n{trace}{message}"),
    ]


def _objects(pairs: Iterable[tuple[str, str]]) -> list[dict[str, object]]:
    return [
        {"key": key, "value": {"intValue" if _is_number(key, value) else "stringValue": value}}
        for key, value in pairs
    ]


def _is_number(key: str, value: str) -> bool:
    """Whether it is sent as one, and comes back as the same text."""
    return key in NUMBERS and _NUMBER.fullmatch(value) is not None


def _object(row: _Row) -> dict[str, object]:
    return {
        "traceId": row.trace_id.hex(),
        "spanId": row.span_id.hex(),
        **({"parentSpanId": row.parent_id.hex()} if row.parent_id else {}),
        "name": row.operation,
        "kind": row.kind,
        "startTimeUnixNano": str(row.start_ns),
        "endTimeUnixNano": str(row.end_ns),
        "attributes": _objects(row.attributes),
        **({"events": [_event(row, said)]} if (said := _exception(row)) else {}),
        **({"status": {"code": ERROR}} if row.failed else {}),
    }


def _event(row: _Row, said: list[tuple[str, str]]) -> dict[str, object]:
    return {"timeUnixNano": str(row.end_ns), "name": "exception", "attributes": _objects(said)}

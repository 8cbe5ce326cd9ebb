"""Spans as an OTLP trace export request: resources by service and pod, as SDKs in the pods would send."""

from collections.abc import Iterator
from dataclasses import dataclass

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage

POD = "k8s.pod.name"
SCOPE = "sluice.bench"
KINDS = {"internal": 1, "server": 2, "client": 3, "producer": 4, "consumer": 5}  # 0: not said
ERROR = 2  # a status that is not an error stays unset, as SDKs leave it


@dataclass(frozen=True, slots=True)
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
    for (service, pod), rows in _by_resource(spans).items():
        resource = request.resource_spans.add()
        resource.resource.attributes.extend(_pairs(_resource(service, pod)))
        scope = resource.scope_spans.add()
        scope.scope.name = SCOPE
        scope.spans.extend(_message(row) for row in rows)
    return request.SerializeToString(deterministic=True)


def to_json(spans: pa.Table) -> bytes:
    """The same in OTLP's JSON: ids in hex, 64-bit integers as strings."""
    resources = [
        {
            "resource": {"attributes": _objects(_resource(service, pod))},
            "scopeSpans": [{"scope": {"name": SCOPE}, "spans": [_object(row) for row in rows]}],
        }
        for (service, pod), rows in _by_resource(spans).items()
    ]
    return msgspec.json.encode({"resourceSpans": resources})


def _by_resource(spans: pa.Table) -> dict[tuple[str, str], list[_Row]]:
    found: dict[tuple[str, str], list[_Row]] = {}
    for service, row in _rows(spans):
        found.setdefault((service, _pod(row)), []).append(row)
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


def _resource(service: str, pod: str) -> list[tuple[str, str]]:
    return [("service.name", service), *([(POD, pod)] if pod else [])]


def _own(row: _Row) -> list[tuple[str, str]]:
    """The attributes without those that the resource says."""
    pod = _pod(row)
    return [pair for pair in row.attributes if pair[0] != POD or not pod]


def _pod(row: _Row) -> str:
    return dict(row.attributes).get(POD, "")


def _pairs(pairs: list[tuple[str, str]]) -> list[KeyValue]:
    return [KeyValue(key=key, value=AnyValue(string_value=value)) for key, value in pairs]


def _message(row: _Row) -> SpanMessage:
    message = SpanMessage(
        trace_id=row.trace_id,
        span_id=row.span_id,
        parent_span_id=row.parent_id or b"",
        name=row.operation,
        kind=row.kind,  # type: ignore[arg-type]
        start_time_unix_nano=row.start_ns,
        end_time_unix_nano=row.end_ns,
        attributes=_pairs(_own(row)),
    )
    if row.failed:
        message.status.code = ERROR  # type: ignore[assignment]
    return message


def _objects(pairs: list[tuple[str, str]]) -> list[dict[str, object]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in pairs]


def _object(row: _Row) -> dict[str, object]:
    return {
        "traceId": row.trace_id.hex(),
        "spanId": row.span_id.hex(),
        **({"parentSpanId": row.parent_id.hex()} if row.parent_id else {}),
        "name": row.operation,
        "kind": row.kind,
        "startTimeUnixNano": str(row.start_ns),
        "endTimeUnixNano": str(row.end_ns),
        "attributes": _objects(_own(row)),
        **({"status": {"code": ERROR}} if row.failed else {}),
    }

"""An OTLP request as rows of the peers' tables, read with the library of the protocol."""

import gzip
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import KeyValue

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ERROR = 2


def rows(body: bytes, encoding: str) -> list[dict[str, Any]]:
    """One dictionary a span: `started_at` as text, `attributes` of resource and span as text.

    `encoding` is "gzip", or anything else for none.
    """
    content = gzip.decompress(body) if encoding == "gzip" else body
    found = []
    for resource in ExportTraceServiceRequest.FromString(content).resource_spans:
        shared = _texts(resource.resource.attributes)
        service = shared.pop("service.name", "unknown_service")
        for span in (span for scope in resource.scope_spans for span in scope.spans):
            started = _EPOCH + timedelta(microseconds=span.start_time_unix_nano // 1_000)
            found.append(
                {
                    "event_id": span.span_id.hex(),
                    "trace_id": span.trace_id.hex(),
                    "parent_id": span.parent_span_id.hex() or None,
                    "started_at": started.isoformat(),
                    "duration_us": (span.end_time_unix_nano - span.start_time_unix_nano) // 1_000,
                    "service": service,
                    "operation": span.name,
                    "status": "error" if span.status.code == _ERROR else "ok",
                    "attributes": shared | _texts(span.attributes),
                }
            )
    return found


def _texts(pairs: Iterable[KeyValue]) -> dict[str, str]:
    return {
        pair.key: str(getattr(pair.value, pair.value.WhichOneof("value") or "string_value")) for pair in pairs
    }

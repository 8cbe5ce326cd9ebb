"""Log exports for tests: random ones, both encodings of one, and what was decoded as messages again."""

import base64
import json
from typing import Any

from google.protobuf import json_format
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from tasks.decoders import DecodedBatches, DecodeLimits, RawBatch, decode_batches

NOW_US = 1_674_981_730_000_000
NOW_NS = NOW_US * 1_000
PROTOBUF, JSON = "otlp-logs-protobuf", "otlp-logs-json"

TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
SCALARS = st.one_of(
    TEXTS.map(lambda value: AnyValue(string_value=value)),
    st.booleans().map(lambda value: AnyValue(bool_value=value)),
    st.integers(-(2**63), 2**63 - 1).map(lambda value: AnyValue(int_value=value)),
    st.floats(allow_nan=False).map(lambda value: AnyValue(double_value=value)),
    st.binary(max_size=5).map(lambda value: AnyValue(bytes_value=value)),
    st.just(AnyValue()),
)


def _lists(values: st.SearchStrategy[AnyValue]) -> st.SearchStrategy[AnyValue]:
    arrays = st.lists(values, max_size=3).map(lambda some: AnyValue(array_value=ArrayValue(values=some)))
    maps = st.lists(pairs(values), max_size=3).map(
        lambda some: AnyValue(kvlist_value=KeyValueList(values=some))
    )
    return arrays | maps


def pairs(values: st.SearchStrategy[AnyValue]) -> st.SearchStrategy[KeyValue]:
    return st.builds(lambda key, value: KeyValue(key=key, value=value), TEXTS, values)


VALUES = st.recursive(SCALARS, _lists, max_leaves=6)
ATTRIBUTES = st.lists(pairs(VALUES), max_size=3)
TIMES = st.integers(NOW_NS - 10**15, NOW_NS)
COUNTS = st.integers(0, 2**32 - 1)
RECORDS = st.builds(
    LogRecord,
    time_unix_nano=TIMES | st.just(0),
    observed_time_unix_nano=TIMES,
    severity_number=st.integers(0, 24),
    severity_text=TEXTS,
    body=VALUES,
    attributes=ATTRIBUTES,
    dropped_attributes_count=COUNTS,
    flags=COUNTS,
    trace_id=st.just(b"") | st.binary(min_size=16, max_size=16).filter(any),
    span_id=st.just(b"") | st.binary(min_size=8, max_size=8).filter(any),
    event_name=TEXTS,
)
RESOURCES = st.builds(Resource, attributes=ATTRIBUTES, dropped_attributes_count=COUNTS)
SCOPES = st.builds(
    InstrumentationScope, name=TEXTS, version=TEXTS, attributes=ATTRIBUTES, dropped_attributes_count=COUNTS
)
IN_SCOPES = st.lists(st.tuples(SCOPES, TEXTS, st.lists(RECORDS, max_size=2)), max_size=2)
EXPORTS = st.lists(st.tuples(RESOURCES, TEXTS, IN_SCOPES), max_size=2)


def export(groups: Any) -> ExportLogsServiceRequest:
    """The request of what EXPORTS draws."""
    request = ExportLogsServiceRequest()
    for resource, url, scopes in groups:
        group = request.resource_logs.add(resource=resource, schema_url=url)
        for scope, scope_url, records in scopes:
            group.scope_logs.add(scope=scope, schema_url=scope_url, log_records=records)
    return request


def some(count: int, *, body: str = "hello") -> ExportLogsServiceRequest:
    """One scope with so many plain records."""
    request = ExportLogsServiceRequest()
    group = request.resource_logs.add()
    group.resource.attributes.add(key="service.name", value=AnyValue(string_value="shop"))
    scope = group.scope_logs.add(scope=InstrumentationScope(name="cart"))
    for number in range(count):
        scope.log_records.add(
            time_unix_nano=NOW_NS - number,
            severity_number=9,
            body=AnyValue(string_value=body),
            trace_id=bytes([1 + number % 3] * 16),
        )
    return request


def errors(count: int) -> bytes:
    """So many records with an error's severity, in protobuf."""
    request = some(count)
    for one in records(request):
        one.severity_number = 17
    return _bytes(request)


def records(request: ExportLogsServiceRequest) -> Any:
    """The records of the only scope."""
    return request.resource_logs[0].scope_logs[0].log_records


def as_json(request: ExportLogsServiceRequest) -> bytes:
    """As OTLP's JSON has it: ids in hexadecimal."""
    document = json_format.MessageToDict(request)
    for group in document.get("resourceLogs", []):
        for scope in group.get("scopeLogs", []):
            for record in scope.get("logRecords", []):
                for name in ("traceId", "spanId"):
                    if name in record:
                        record[name] = base64.b64decode(record[name]).hex()
    return json.dumps(document).encode()


def decoded(*bodies: tuple[bytes, str], limits: DecodeLimits | None = None) -> DecodedBatches:
    """A window of these bodies, each with its format."""
    batches = [
        RawBatch(body=body, format=form, content_encoding="", accepted_at_us=NOW_US) for body, form in bodies
    ]
    return decode_batches(batches, limits or DecodeLimits())


def restored(row: dict[str, Any]) -> tuple[bytes, bytes, str, bytes, str]:
    """A decoded record, its resource and scope with their schema URLs, as messages again, serialised."""
    record = LogRecord(
        time_unix_nano=row["time_ns"] or 0,
        observed_time_unix_nano=row["observed_ns"] or 0,
        severity_number=row["severity_number"],
        severity_text=row["severity_text"] or "",
        attributes=[json_format.ParseDict(one, KeyValue()) for one in json.loads(row["attributes"])],
        dropped_attributes_count=row["dropped_attributes"],
        flags=row["flags"],
        trace_id=row["trace_id"] or b"",
        span_id=row["span_id"] or b"",
        event_name=row["event_name"] or "",
    )
    if row["body"] is not None:
        json_format.ParseDict(json.loads(row["body"]), record.body)
    resource, scope = json.loads(row["resource"]), json.loads(row["scope"] or "{}")
    urls = resource.pop("schemaUrl", ""), scope.pop("schemaUrl", "")
    return (
        _bytes(record),
        _bytes(json_format.ParseDict(resource, Resource())),
        urls[0],
        _bytes(json_format.ParseDict(scope, InstrumentationScope())),
        urls[1],
    )


def sent(request: ExportLogsServiceRequest) -> list[tuple[bytes, bytes, str, bytes, str]]:
    """Of each record of a request what `restored` gives."""
    found = []
    for group in request.resource_logs:
        for scope in group.scope_logs:
            for record in scope.log_records:
                if record.body == AnyValue():
                    record.ClearField("body")
                around = _bytes(group.resource), group.schema_url, _bytes(scope.scope), scope.schema_url
                found.append((_bytes(record), *around))
    return found


def _bytes(message: Any) -> bytes:
    written: bytes = message.SerializeToString(deterministic=True)
    return written

"""OTLP/HTTP logs in protobuf: ExportLogsServiceRequest. docs/formats.md says what becomes of it."""

import base64
from collections.abc import Iterator, Sequence
from typing import Any, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs

from tasks.decoders.contract import DecodeLimits, UnfitBatch
from tasks.decoders.otlp import protobuf_slots
from tasks.decoders.otlp.protobuf_export import bound_values
from tasks.decoders.otlp.slots import LOGS, Slot, Unread
from tasks.decoders.otlp_logs import fields
from tasks.decoders.otlp_logs.fields import Budget, LogFields, LogHolder, Value
from tasks.decoders.otlp_logs.reading import format_of
from tasks.decoders.reasons import RejectReason, UnfitReason
from tasks.decoders.rows import picked


def slots(data: bytes, limits: DecodeLimits) -> Iterator[Slot]:
    """As `protobuf_slots.slots`. Raises `UnfitBatch`: malformed, not_understood, too_many_values."""
    bound_values(data, limits)
    try:
        yield from protobuf_slots.slots(data, LOGS)
    except DecodeError as error:
        raise UnfitBatch(UnfitReason.MALFORMED, f"not an ExportLogsServiceRequest: {error}") from None


def pick(data: bytes, rows: Sequence[int]) -> Iterator[bytes]:
    """As `Format.pick`: requests with one record, its scope and its resource."""
    return picked(protobuf_slots.slots(data, LOGS), rows)


class ProtobufReader:
    """As `Reader`, of protobuf."""

    def __init__(self, limits: DecodeLimits) -> None:
        self.budget = Budget(limits)

    def resource(self, slot: Slot) -> LogHolder:
        """As `Reader.resource`."""
        read = _parsed(ResourceLogs, slot.group)
        of = read.resource
        return fields.holder(
            self._pairs(of.attributes, 0), dropped=of.dropped_attributes_count, schema_url=read.schema_url
        )

    def scope(self, slot: Slot) -> LogHolder | None:
        """As `Reader.scope`."""
        read = _parsed(ScopeLogs, slot.scope)
        of = read.scope
        found = fields.holder(
            self._pairs(of.attributes, 0),
            dropped=of.dropped_attributes_count,
            schema_url=read.schema_url,
            scope_name=of.name,
            scope_version=of.version,
        )
        return None if found.text == fields.NOTHING else found

    def record(self, piece: bytes, resource: LogHolder, scope: LogHolder | None) -> LogFields:
        """As `Reader.record`."""
        read = _parsed(LogRecord, piece)
        return LogFields(
            time_ns=fields.time_of(read.time_unix_nano),
            observed_ns=fields.time_of(read.observed_time_unix_nano),
            severity_number=fields.severity(read.severity_number),
            severity_text=fields.name(read.severity_text, "a severity text", fields.SEVERITY_TEXT_BYTES),
            service=resource.service,
            event_name=fields.name(read.event_name, "an event name"),
            body=fields.body(self._value(read.body, 0)),
            attributes=fields.written(fields.bounded(self._pairs(read.attributes, 0))),
            dropped_attributes=read.dropped_attributes_count,
            scope=scope.text if scope else None,
            resource=resource.text,
            trace_id=fields.identifier(read.trace_id, 16, RejectReason.BAD_TRACE_ID),
            span_id=fields.identifier(read.span_id, 8, RejectReason.BAD_EVENT_ID),
            flags=read.flags,
        )

    def _pairs(self, pairs: Any, depth: int) -> list[Value]:
        return [{"key": fields.clean(pair.key), "value": self._value(pair.value, depth)} for pair in pairs]

    def _value(self, value: Any, depth: int) -> Value:
        self.budget.value()
        match kind := value.WhichOneof("value"):
            case None:
                return {}
            case "string_value":
                return {"stringValue": fields.clean(value.string_value)}
            case "bool_value":
                return {"boolValue": value.bool_value}
            case "int_value":
                return {"intValue": str(value.int_value)}
            case "double_value":
                return fields.double(value.double_value)
            case "bytes_value":
                return {"bytesValue": base64.b64encode(value.bytes_value).decode()}
            case "array_value":
                below = fields.deeper(depth)
                return fields.array([self._value(one, below) for one in value.array_value.values])
            case "kvlist_value":
                return fields.key_values(self._pairs(value.kvlist_value.values, fields.deeper(depth)))
        raise Unread(RejectReason.BAD_FIELD, f"a value of the kind {kind}")


FORMAT: Final = format_of(slots, ProtobufReader, pick)


def _parsed(message: Any, data: bytes) -> Any:
    try:
        return message.FromString(data)
    except DecodeError as error:
        raise Unread(RejectReason.BAD_FIELD, f"not a {message.__name__}: {error}") from None

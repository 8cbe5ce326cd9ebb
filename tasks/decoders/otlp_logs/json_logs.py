"""OTLP/HTTP logs in JSON: ExportLogsServiceRequest with hexadecimal ids and names in lowerCamelCase."""

import base64
import binascii
import re
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

import msgspec
from opentelemetry.proto.logs.v1.logs_pb2 import SeverityNumber

from tasks.decoders.contract import DETAIL, DecodeLimits, UnfitBatch
from tasks.decoders.json_numbers import LEAST, MOST, double, whole
from tasks.decoders.json_pieces import Torn
from tasks.decoders.ndjson import Unreadable, bound_strings, bound_values, reason_of
from tasks.decoders.otlp import json_slots
from tasks.decoders.otlp.slots import LOGS, Slot, Unread
from tasks.decoders.otlp_logs import fields
from tasks.decoders.otlp_logs.fields import MOST_UINT32, Budget, LogFields, LogHolder, Value
from tasks.decoders.otlp_logs.reading import format_of
from tasks.decoders.reasons import RejectReason, UnfitReason
from tasks.decoders.rows import picked
from tasks.events.otlp_values import AnyValue, Camel, KeyValue, Number

# In a string a quote is escaped, so a name in quotes and before a colon is a name.
SNAKE: Final = re.compile(rb'"[a-z]+(?:_[a-z]+)+"(?=\s*:)')


SEVERITIES: Final = frozenset(SeverityNumber.keys())


class LogRecord(Camel):
    """OTLP's LogRecord."""

    time_unix_nano: Number | None = None
    observed_time_unix_nano: Number | None = None
    severity_number: int | str | None = None
    severity_text: str | None = None
    body: AnyValue | None = None
    attributes: list[KeyValue] | None = None
    dropped_attributes_count: Number | None = None
    flags: Number | None = None
    trace_id: str | None = None
    span_id: str | None = None
    event_name: str | None = None


class Holding(Camel):
    """OTLP's Resource, and its InstrumentationScope."""

    name: str | None = None
    version: str | None = None
    attributes: list[KeyValue] | None = None
    dropped_attributes_count: Number | None = None


class LogGroup(Camel):
    """OTLP's ResourceLogs, or its ScopeLogs, without what they hold."""

    resource: Holding | None = None
    scope: Holding | None = None
    instrumentation_library: Holding | None = None
    schema_url: str | None = None


Message = TypeVar("Message")
_record = msgspec.json.Decoder(LogRecord)
_group = msgspec.json.Decoder(LogGroup)
_pair = msgspec.json.Decoder(KeyValue)


def slots(data: bytes, limits: DecodeLimits) -> Iterator[Slot]:
    """As `json_slots.slots`. Raises `UnfitBatch`: malformed, not_understood, too_many_values."""
    bound_values(data, limits)
    bound_strings(data, limits)
    try:
        yield from json_slots.slots(data, LOGS)
    except Torn as error:
        raise UnfitBatch(UnfitReason.MALFORMED, f"not a log export: {error}"[:DETAIL]) from None


def pick(data: bytes, rows: Sequence[int]) -> Iterator[bytes]:
    """As `Format.pick`: requests with one record, its scope and its resource."""
    return picked(json_slots.slots(data, LOGS), rows)


class JsonReader:
    """As `Reader`, of JSON."""

    def __init__(self, limits: DecodeLimits) -> None:
        self.budget = Budget(limits)

    def resource(self, slot: Slot) -> LogHolder:
        """As `Reader.resource`."""
        read = _parsed(_group, slot.group)
        of = read.resource or Holding()
        attributes = [_parsed(_pair, text) for text in slot.resource or ()]
        return fields.holder(
            self._pairs(attributes, 0),
            dropped=_uint32(of.dropped_attributes_count),
            schema_url=read.schema_url or "",
        )

    def scope(self, slot: Slot) -> LogHolder | None:
        """As `Reader.scope`."""
        read = _parsed(_group, slot.scope)
        of = read.scope or read.instrumentation_library or Holding()
        found = fields.holder(
            self._pairs(of.attributes, 0),
            dropped=_uint32(of.dropped_attributes_count),
            schema_url=read.schema_url or "",
            scope_name=of.name or "",
            scope_version=of.version or "",
        )
        return None if found.text == fields.NOTHING else found

    def record(self, piece: bytes, resource: LogHolder, scope: LogHolder | None) -> LogFields:
        """As `Reader.record`."""
        read = _parsed(_record, piece)
        text, event = read.severity_text or "", read.event_name or ""
        return LogFields(
            time_ns=_time(read.time_unix_nano),
            observed_ns=_time(read.observed_time_unix_nano),
            severity_number=fields.severity(_severity(read.severity_number)),
            severity_text=fields.name(text, "a severity text", fields.SEVERITY_TEXT_BYTES),
            service=resource.service,
            event_name=fields.name(event, "an event name"),
            body=fields.body(self._value(read.body, 0)),
            attributes=fields.written(fields.bounded(self._pairs(read.attributes, 0))),
            dropped_attributes=_uint32(read.dropped_attributes_count),
            scope=scope.text if scope else None,
            resource=resource.text,
            trace_id=_id(read.trace_id, 16, RejectReason.BAD_TRACE_ID),
            span_id=_id(read.span_id, 8, RejectReason.BAD_EVENT_ID),
            flags=_uint32(read.flags),
        )

    def _pairs(self, pairs: Sequence[KeyValue] | None, depth: int) -> list[Value]:
        return [
            {"key": fields.clean(pair.key or ""), "value": self._value(pair.value, depth)}
            for pair in pairs or ()
        ]

    def _value(self, value: AnyValue | None, depth: int) -> Value:
        self.budget.value()
        if value is None:
            return {}
        if value.string_value is not None:
            return {"stringValue": fields.clean(value.string_value)}
        if value.bool_value is not None:
            return {"boolValue": value.bool_value}
        if value.array_value is not None:
            below = fields.deeper(depth)
            return fields.array([self._value(one, below) for one in value.array_value.values or ()])
        if value.kvlist_value is not None:
            return fields.key_values(self._pairs(value.kvlist_value.values, fields.deeper(depth)))
        return _scalar(value)


FORMAT: Final = format_of(slots, JsonReader, pick)


def _scalar(value: AnyValue) -> Value:
    try:
        if value.int_value is not None:
            return {"intValue": str(whole(value.int_value, LEAST, MOST))}
        if value.double_value is not None:
            return fields.double(float(double(value.double_value)))
        if value.bytes_value is not None:
            octets = base64.b64decode(value.bytes_value.translate(fields.URL_SAFE), validate=True)
            return {"bytesValue": base64.b64encode(octets).decode()}
    except ValueError as error:
        raise Unread(RejectReason.BAD_ATTRIBUTES, f"a value that can't be read: {error}"[:DETAIL]) from None
    return {}


def _parsed(decoder: msgspec.json.Decoder[Message], text: bytes) -> Message:
    try:
        return decoder.decode(SNAKE.sub(_camel, text) if b"_" in text else text)
    except Unreadable as error:
        raise Unread(reason_of(error), str(error)[:DETAIL]) from None


def _camel(name: re.Match[bytes]) -> bytes:
    first, *rest = name[0].split(b"_")
    return first + b"".join(word.capitalize() for word in rest)


def _time(number: Number | None) -> int | None:
    try:
        return fields.time_of(whole(number or 0, 0, 2**64 - 1))
    except ValueError as error:
        raise Unread(RejectReason.BAD_TIME, f"a time that is {error}") from None


def _uint32(number: Number | None) -> int:
    try:
        return whole(number or 0, 0, MOST_UINT32)
    except ValueError as error:
        raise Unread(RejectReason.BAD_FIELD, f"flags or a count that is {error}") from None


def _severity(number: int | str | None) -> int:
    if isinstance(number, int):
        return number
    try:
        return SeverityNumber.Value(number) if number in SEVERITIES else int(number or 0)
    except ValueError:
        raise Unread(RejectReason.BAD_FIELD, "a severity that is neither a number nor a name") from None


def _id(digits: str | None, width: int, reason: RejectReason) -> bytes | None:
    try:
        return fields.identifier(binascii.unhexlify(digits or ""), width, reason)
    except ValueError:
        raise Unread(reason, f"not {2 * width} hexadecimal digits") from None

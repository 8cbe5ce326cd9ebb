"""What a log record may hold, and how it is written down: values as OTLP's JSON has them, their types kept.

A value is one object with one member, such as `{"intValue": "5"}`, as
https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding says; the one without a member is no value.
"""

import math
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec

from tasks.decoders.contract import DecodeLimits, UnfitBatch
from tasks.decoders.otlp.slots import Unread
from tasks.decoders.reasons import RejectReason, UnfitReason
from tasks.decoders.validate import ATTRIBUTES, KEY_BYTES, NAME_BYTES, OUT_OF_BOUNDS, VALUE_BYTES

BODY_BYTES: Final = 64 * 1_024
SEVERITY_TEXT_BYTES: Final = 64
RECORD_BYTES: Final = 512 * 1_024
"""As sent. A larger record is not looked at: it would take a hundred times as much while it is read."""
MOST_SEVERITY: Final = 24
NESTING: Final = 32
MOST_TIME: Final = 2**63 - 1
MOST_UINT32: Final = 2**32 - 1
UNKNOWN_SERVICE: Final = "unknown_service"
NOT_FINITE: Final = {math.inf: "Infinity", -math.inf: "-Infinity"}
NOTHING: Final = "{}"
"""The text of a resource or scope that says nothing."""
URL_SAFE: Final = str.maketrans("-_", "+/")
"""Base64's two alphabets are both accepted in ProtoJSON."""
Value = dict[str, Any]
_encoder = msgspec.json.Encoder()


class Budget:
    """What one batch may still take: values, and bytes of its table's texts."""

    def __init__(self, limits: DecodeLimits) -> None:
        self._limits = limits
        self._values = limits.values
        self.bytes = 0

    def value(self) -> None:
        """Raises `UnfitBatch`: too_many_values."""
        self._values -= 1
        if self._values < 0:
            raise UnfitBatch(UnfitReason.TOO_MANY_VALUES, f"more than {self._limits.values} values")

    def take(self, size: int) -> None:
        """Raises `UnfitBatch`: too_large."""
        self.bytes += size
        if self.bytes > self._limits.window_bytes:
            raise UnfitBatch(UnfitReason.TOO_LARGE, f"decodes to more than {self._limits.window_bytes} bytes")


class LogFields(NamedTuple):
    """A log record: the columns of `tasks.events.LOGS` but `at`, in their order."""

    time_ns: int | None
    observed_ns: int | None
    severity_number: int
    severity_text: str | None
    service: str
    event_name: str | None
    body: str | None
    attributes: str
    dropped_attributes: int
    scope: str | None
    resource: str
    trace_id: bytes | None
    span_id: bytes | None
    flags: int

    @property
    def size(self) -> int:
        """Bytes in the table, or a few more."""
        texts = self.severity_text, self.service, self.event_name, self.body, self.scope
        given = (text for text in (*texts, self.attributes, self.resource) if text)
        return 128 + sum(len(text) if text.isascii() else len(text.encode()) for text in given)


class LogHolder(NamedTuple):
    """What a resource or a scope says of each record in it."""

    text: str  # JSON
    service: str = UNKNOWN_SERVICE


def time_of(nanoseconds: int) -> int | None:
    """None for 0, which is none. Raises `Unread` (bad_time) for what no database can hold."""
    if nanoseconds > MOST_TIME:
        raise Unread(RejectReason.BAD_TIME, "not below 2^63 nanoseconds")
    return nanoseconds or None


def severity(number: int) -> int:
    """Raises `Unread` (bad_field) for a number that OpenTelemetry has not."""
    if not 0 <= number <= MOST_SEVERITY:
        raise Unread(RejectReason.BAD_FIELD, f"a severity number that is not in 0..{MOST_SEVERITY}")
    return number


def identifier(sent: bytes, width: int, reason: RejectReason) -> bytes | None:
    """An id; None for no bytes and for zeros. Raises `Unread` for another width."""
    if sent and len(sent) != width:
        raise Unread(reason, f"not {width} bytes")
    return sent if any(sent) else None


def name(text: str, what: str, most: int = NAME_BYTES) -> str | None:
    """A short text; None when it is empty. Raises `Unread` (bad_field, nul_character)."""
    if len(text.encode()) > most:
        raise Unread(RejectReason.BAD_FIELD, f"{what} above {most} bytes")
    return clean(text) or None


def clean(text: str) -> str:
    """The text. Raises `Unread` (nul_character) for what PostgreSQL's text can't hold."""
    if "\0" in text:
        raise Unread(RejectReason.NUL_CHARACTER, "holds U+0000, which the database can't")
    return text


def double(number: float) -> Value:
    """A double as a JSON number, or as text where a database would give another one back: one that is not
    finite, the negative zero, and those with an exponent.
    """
    if math.isnan(number):
        return {"doubleValue": "NaN"}
    text = NOT_FINITE.get(number) or repr(number)
    plain = not (text.startswith("-0.0") or "e" in text or "I" in text)
    return {"doubleValue": number if plain else text}


def array(values: Sequence[Value]) -> Value:
    """An array of values."""
    return {"arrayValue": {"values": values}}


def key_values(pairs: Sequence[Value]) -> Value:
    """A list of KeyValues."""
    return {"kvlistValue": {"values": pairs}}


def deeper(depth: int) -> int:
    """Raises `Unread` (bad_attributes) for arrays and lists that lie too deep in each other."""
    if depth >= NESTING:
        raise Unread(RejectReason.BAD_ATTRIBUTES, f"arrays and lists deeper in each other than {NESTING}")
    return depth + 1


def body(value: Value) -> str | None:
    """A body's JSON; None for no value. Raises `Unread` (bad_field)."""
    if not value:
        return None
    text = written(value)
    if len(text.encode()) > BODY_BYTES:
        raise Unread(RejectReason.BAD_FIELD, f"a body above {BODY_BYTES} bytes of JSON")
    return text


def bounded(attributes: Sequence[Value]) -> Sequence[Value]:
    """The attributes, KeyValues as OTLP's JSON has them. Raises `Unread` (bad_attributes)."""
    if len(attributes) > ATTRIBUTES or any(map(_oversized, attributes)):
        raise Unread(RejectReason.BAD_ATTRIBUTES, OUT_OF_BOUNDS)
    return attributes


def _oversized(pair: Value) -> bool:
    return len(pair["key"].encode()) > KEY_BYTES or len(_encoder.encode(pair["value"])) > VALUE_BYTES


def written(value: Any) -> str:
    """Its JSON."""
    return _encoder.encode(value).decode()


def holder(
    attributes: Sequence[Value],
    *,
    dropped: int,
    schema_url: str,
    scope_name: str | None = None,
    scope_version: str | None = None,
) -> LogHolder:
    """A resource, or with a name and a version a scope, which are left out where they say nothing.

    Raises `Unread`.
    """
    parts: dict[str, Any] = {}
    if scope_name is not None:
        parts["name"] = name(scope_name, "a scope's name")
    if scope_version is not None:
        parts["version"] = name(scope_version, "a scope's version")
    parts["attributes"] = bounded(attributes)
    parts["droppedAttributesCount"] = dropped
    parts["schemaUrl"] = name(schema_url, "a schema URL")
    return LogHolder(written({key: value for key, value in parts.items() if value}), _service(attributes))


def _service(attributes: Sequence[Value]) -> str:
    """The last one that says it, as text."""
    found = UNKNOWN_SERVICE
    for pair in attributes:
        if pair["key"] == "service.name":
            found = str(pair["value"].get("stringValue") or UNKNOWN_SERVICE)
    return name(found, "service.name") or UNKNOWN_SERVICE

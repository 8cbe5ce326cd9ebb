"""Details of events that did not come by OTLP: JSON in OTLP's form, checked for each event that has some, and
made when it is read.

Attributes may be a plain JSON object instead of OTLP's list of keys and values.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar

import msgspec

from tasks.decoders.attributes import bound_nesting, could_be_deep
from tasks.decoders.canonical import pairs, pairs_of
from tasks.decoders.contract import DETAIL
from tasks.decoders.json_numbers import whole
from tasks.decoders.reasons import RejectReason
from tasks.events.details import (
    EXCEPTION,
    SpanDetails,
    SpanEvent,
    SpanLink,
    SpanResource,
    SpanRest,
    SpanScope,
    nanoseconds,
)
from tasks.events.otlp_values import AnyValue, Camel, KeyValue, Number

MOST_BYTES: Final = 256 * 1024  # of one event's details, as they came
MOST_PARTS: Final = 1_024  # span events; links
REMEMBERED: Final = 32  # documents that many events share: resources; scopes
SHORT: Final = 8 * 1024  # bytes of one that is remembered
MOST_32: Final = 2**32 - 1
MOST_64: Final = 2**64 - 1
MOST_STATUS: Final = 2  # OTLP's Status.StatusCode
SERVICE: Final = "service.name"
NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")  # as JSON writes it
HEX: Final = re.compile(r"[0-9a-fA-F]*", re.ASCII)
Attributes = list[KeyValue] | dict[str, Any] | None
Sent = TypeVar("Sent")


class SentEvent(Camel):
    """A span event as agents write it."""

    time_unix_nano: Number | None = None
    name: str | None = None
    attributes: Attributes = None
    dropped_attributes_count: Number | None = None


class SentLink(Camel):
    """A link as agents write it."""

    trace_id: str | None = None
    span_id: str | None = None
    trace_state: str | None = None
    attributes: Attributes = None
    dropped_attributes_count: Number | None = None
    flags: Number | None = None


class SentScope(Camel):
    """An instrumentation scope as agents write it."""

    name: str | None = None
    version: str | None = None
    attributes: Attributes = None
    dropped_attributes_count: Number | None = None
    schema_url: str | None = None


class SentResource(Camel):
    """A resource as agents write it."""

    attributes: Attributes = None
    dropped_attributes_count: Number | None = None
    schema_url: str | None = None


class SentRest(Camel):
    """What is left of a span as agents write it."""

    start_time_unix_nano: Number | None = None
    end_time_unix_nano: Number | None = None
    attributes: Attributes = None
    status_code: Number | None = None
    nameless: bool | None = None
    dropped_attributes_count: Number | None = None
    dropped_events_count: Number | None = None
    dropped_links_count: Number | None = None


class SentDetails(msgspec.Struct, frozen=True):
    """What one event says of its details; the last five are JSON, empty for nothing."""

    service: str | None
    trace_state: str | None
    flags: int | None
    resource: bytes
    scope: bytes
    span: bytes
    span_events: bytes
    links: bytes

    @property
    def size(self) -> int:
        """Bytes of it, as they came."""
        return len((self.trace_state or "").encode()) + sum(map(len, self.documents()))

    def documents(self) -> Sequence[bytes]:
        """What of it is JSON."""
        return self.resource, self.scope, self.span, self.span_events, self.links

    def details(self) -> SpanDetails:
        """As SpanDetails, in canonical form. Raises ValueError or msgspec.MsgspecError for what is none, and
        RecursionError for what lies too deep.
        """
        if not 0 <= (self.flags or 0) <= MOST_32:
            raise ValueError("flags are a number of 32 bits")
        return SpanDetails(
            trace_state=self.trace_state or "",
            flags=self.flags or 0,
            resource=(_known_resource if len(self.resource) <= SHORT else _resource)(
                self.resource, self.service
            ),
            scope=(_known_scope if len(self.scope) <= SHORT else _scope)(self.scope),
            span=_rest(_read(_rests, self.span)),
            events=[_event(one) for one in _bounded(_read(_events, self.span_events))],
            links=[_link(one) for one in _bounded(_read(_links, self.links))],
        )


_events = msgspec.json.Decoder(list[SentEvent] | None)
_links = msgspec.json.Decoder(list[SentLink] | None)
_scopes = msgspec.json.Decoder(SentScope | None)
_resources = msgspec.json.Decoder(SentResource | None)
_rests = msgspec.json.Decoder(SentRest | None)


def rejections(sent: Mapping[int, SentDetails]) -> dict[int, tuple[RejectReason, str]]:
    """Of these rows, those whose event has to be rejected, and why."""
    found = ((row, _wrong(one)) for row, one in sent.items())
    return {row: why for row, why in found if why is not None}


def _wrong(sent: SentDetails) -> tuple[RejectReason, str] | None:
    if sent.size > MOST_BYTES:
        return RejectReason.BAD_DETAILS, f"above {MOST_BYTES} bytes"
    try:
        sent.details()
    except UnicodeDecodeError as error:
        return RejectReason.BAD_UTF8, str(error)[:DETAIL]
    except (ValueError, msgspec.MsgspecError, RecursionError) as error:
        return RejectReason.BAD_DETAILS, str(error)[:DETAIL]
    if any(map(NUL.search, sent.documents())) or "\0" in (sent.trace_state or ""):
        return RejectReason.NUL_CHARACTER, "holds U+0000, which the database can't"
    return None


def exceptional(sent: SentDetails) -> bool:
    """Whether one of the span events, which fit, tells of an exception."""
    if EXCEPTION.encode() not in sent.span_events and b"\\u" not in sent.span_events:
        return False
    return any(one.name == EXCEPTION for one in _read(_events, sent.span_events) or ())


def _read(decoder: "msgspec.json.Decoder[Sent | None]", raw: bytes) -> Sent | None:
    if not raw:
        return None
    found = decoder.decode(raw)
    if could_be_deep(raw):
        bound_nesting(msgspec.json.decode(raw))
    return found


def _bounded(parts: Sequence[Sent] | None) -> Iterable[Sent]:
    if parts is not None and len(parts) > MOST_PARTS:
        raise ValueError(f"more than {MOST_PARTS} span events or links")
    return parts or ()


def _event(sent: SentEvent) -> SpanEvent:
    return SpanEvent(
        time_unix_nano=_time(sent.time_unix_nano),
        name=sent.name or "",
        attributes=_attributes(sent.attributes),
        dropped_attributes_count=_count(sent.dropped_attributes_count),
    )


def _link(sent: SentLink) -> SpanLink:
    return SpanLink(
        trace_id=_id(sent.trace_id or "", 32),
        span_id=_id(sent.span_id or "", 16),
        trace_state=sent.trace_state or "",
        attributes=_attributes(sent.attributes),
        dropped_attributes_count=_count(sent.dropped_attributes_count),
        flags=_count(sent.flags),
    )


def _resource(document: bytes, service: str | None) -> SpanResource | None:
    sent = _read(_resources, document)
    if sent is None:
        return None
    attributes = _attributes(sent.attributes)
    if service is not None and all(pair.key != SERVICE for pair in attributes):
        attributes.insert(0, KeyValue(SERVICE, AnyValue(string_value=service)))
    return SpanResource(attributes, _count(sent.dropped_attributes_count), sent.schema_url or "")


def _scope(document: bytes) -> SpanScope | None:
    sent = _read(_scopes, document)
    if sent is None:
        return None
    return SpanScope(
        name=sent.name or "",
        version=sent.version or "",
        attributes=_attributes(sent.attributes),
        dropped_attributes_count=_count(sent.dropped_attributes_count),
        schema_url=sent.schema_url or "",
    )


# What many events share is read once if it is short, so that little is remembered.
_known_resource = lru_cache(maxsize=REMEMBERED)(_resource)
_known_scope = lru_cache(maxsize=REMEMBERED)(_scope)


def _rest(sent: SentRest | None) -> SpanRest | None:
    if sent is None:
        return None
    return SpanRest(
        start_time_unix_nano=_time(sent.start_time_unix_nano),
        end_time_unix_nano=_time(sent.end_time_unix_nano),
        attributes=_attributes(sent.attributes),
        status_code=whole(sent.status_code or 0, 0, MOST_STATUS),
        nameless=bool(sent.nameless),
        dropped_attributes_count=_count(sent.dropped_attributes_count),
        dropped_events_count=_count(sent.dropped_events_count),
        dropped_links_count=_count(sent.dropped_links_count),
    )


def _time(sent: Number | None) -> str:
    return nanoseconds(whole(sent or 0, 0, MOST_64))


def _attributes(sent: Attributes) -> list[KeyValue]:
    return pairs_of(sent) if isinstance(sent, dict) else pairs(sent, str)


def _count(sent: Number | None) -> int:
    return whole(sent or 0, 0, MOST_32)


def _id(text: str, digits: int) -> str:
    if len(text) != digits or not HEX.fullmatch(text):
        raise ValueError(f"an id of a link that is not {digits} hexadecimal digits")
    return text.lower()

"""The details of spans from protobuf, in the form in which OTLP's JSON encoding says them."""

import base64
from collections.abc import Iterable
from typing import Any, Final

from google.protobuf.message import DecodeError

from tasks.decoders.otlp.details import Origin, Pairs, bound_own, bound_scope, unnamed_kind, without_nul
from tasks.decoders.otlp.protobuf_messages import Event, Group, KeyValue, Link, ScopeSpans, Span, Status
from tasks.decoders.otlp.protobuf_pairs import as_number
from tasks.decoders.otlp.slots import Slot, Unread
from tasks.decoders.reasons import RejectReason
from tasks.events import AnyValue, ArrayValue, KeyValue as Pair, KeyValueList, SpanDetails
from tasks.events.details import (
    EXCEPTION,
    SpanEvent,
    SpanLink,
    SpanResource,
    SpanRest,
    SpanScope,
    first_exception,
    nanoseconds,
)

NAME: Final = EXCEPTION.encode()


def details_of(data: bytes, origin: Origin, known: Pairs) -> SpanDetails:
    """The details of a Span. `known` are attributes that need not be read again."""
    span = Span.FromString(data)
    return SpanDetails(
        trace_state=span.trace_state.decode(),
        flags=span.flags,
        resource=origin.resource,
        scope=origin.scope,
        span=SpanRest(
            start_time_unix_nano=nanoseconds(span.start_time_unix_nano),
            end_time_unix_nano=nanoseconds(span.end_time_unix_nano),
            attributes=_pairs(span.attributes, known),
            kind=unnamed_kind(span.kind),
            status_code=Status.FromString(span.status).code if span.status else 0,
            nameless=not span.name,
            dropped_attributes_count=span.dropped_attributes_count,
            dropped_events_count=span.dropped_events_count,
            dropped_links_count=span.dropped_links_count,
        ),
        events=[_event(one, known) for one in span.events],
        links=[_link(one, known) for one in span.links],
    )


def exception_of(data: bytes) -> SpanDetails:
    """As `first_exception` of a Span's details."""
    return first_exception(SpanDetails(events=[_event(one, {}) for one in Span.FromString(data).events]))


def origin_of(slot: Slot) -> Origin:
    """What the spans of a slot share."""
    group, spans = Group.FromString(slot.group), ScopeSpans.FromString(slot.scope)
    return Origin(
        resource_of(group.resource, group.schema_url, {}), scope_of(spans.scope, spans.schema_url, {})
    )


def resource_of(resource: Any, schema_url: bytes, known: Pairs) -> SpanResource:
    """A Resource, and the schema URL of its group."""
    return SpanResource(
        _pairs(resource.attributes, known), resource.dropped_attributes_count, _text(schema_url)
    )


def scope_of(scope: Any, schema_url: bytes, known: Pairs) -> SpanScope:
    """A scope, and the schema URL of its spans. Raises what `look_around` makes `Unread` of."""
    return SpanScope(
        _text(scope.name),
        _text(scope.version),
        _pairs(scope.attributes, known),
        scope.dropped_attributes_count,
        _text(schema_url),
    )


def look_at(span: Any) -> bool:
    """Whether one of a Span's events tells of an exception.

    Raises `Unread` for trace state, events or links that can't be kept: bad_details, nul_character.
    """
    sizes = [len(span.trace_state), *map(len, span.events), *map(len, span.links)]
    bound_own(sizes, len(span.events), len(span.links))
    try:
        _text(span.trace_state)
        events = [_event(one, {}) for one in span.events]
        for link in span.links:
            _link(link, {})
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unread(RejectReason.BAD_DETAILS, f"a span event or a link: {error}"[:200]) from None
    return any(event.name == EXCEPTION for event in events)


def look_around(group: Any, spans: Any) -> int:
    """How many bytes the scope of ScopeSpans and the schema URLs have, in a ResourceSpans.

    Raises `Unread` for those that can't be kept: bad_details, nul_character.
    """
    size = spans.scope.ByteSize() + len(spans.schema_url) + len(group.schema_url)
    bound_scope(size)
    try:
        scope_of(spans.scope, spans.schema_url, {})
        _text(group.schema_url)
    except (DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Unread(RejectReason.BAD_DETAILS, f"the scope or a schema URL: {error}"[:200]) from None
    return int(size)


def _event(data: bytes, known: Pairs) -> SpanEvent:
    event = Event.FromString(data)
    return SpanEvent(
        nanoseconds(event.time_unix_nano),
        _text(event.name),
        _pairs(event.attributes, known),
        event.dropped_attributes_count,
    )


def _link(data: bytes, known: Pairs) -> SpanLink:
    link = Link.FromString(data)
    return SpanLink(
        link.trace_id.hex(),
        link.span_id.hex(),
        _text(link.trace_state),
        _pairs(link.attributes, known),
        link.dropped_attributes_count,
        link.flags,
    )


def _pairs(attributes: Iterable[bytes], known: Pairs) -> list[Pair]:
    made = []
    for raw in attributes:
        if raw not in known:
            known[raw] = _pair(KeyValue.FromString(raw))
        made.append(known[raw])
    return made


def _pair(pair: Any) -> Pair:
    return Pair(_text(pair.key) or None, _value(pair.value) if pair.HasField("value") else None)


def _value(value: Any) -> AnyValue:
    kind = value.WhichOneof("value")
    if kind == "string_value":
        return AnyValue(string_value=_text(value.string_value))
    if kind == "int_value":
        return AnyValue(int_value=str(value.int_value))
    if kind == "bool_value":
        return AnyValue(bool_value=value.bool_value)
    if kind == "double_value":
        return AnyValue(double_value=as_number(value.double_value))
    if kind == "bytes_value":
        return AnyValue(bytes_value=base64.b64encode(value.bytes_value).decode())
    if kind == "array_value":
        return AnyValue(array_value=ArrayValue([_value(one) for one in value.array_value.values] or None))
    if kind == "kvlist_value":
        return AnyValue(kvlist_value=KeyValueList([_pair(one) for one in value.kvlist_value.values] or None))
    return AnyValue()


def _text(data: bytes) -> str:
    return without_nul(data.decode())

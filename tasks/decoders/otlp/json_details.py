"""The details of spans from OTLP's JSON, in one of the forms that its encoding allows."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from operator import attrgetter
from typing import Final, NamedTuple

import msgspec

from tasks.decoders import canonical
from tasks.decoders.json_numbers import whole
from tasks.decoders.ndjson import DETAIL, Unreadable
from tasks.decoders.otlp.details import (
    Looked,
    Origin,
    Pairs,
    bound_own,
    bound_scope,
    look,
    unnamed_kind,
    without_nul,
)
from tasks.decoders.otlp.json_messages import (
    AroundScopes,
    AroundSpans,
    ExportedEvent,
    ExportedLink,
    ExportedScope,
    ExportRequest,
    Span,
)
from tasks.decoders.otlp.json_values import camel, camel_names, read_pair
from tasks.decoders.otlp.slots import Slot, Unread
from tasks.decoders.reasons import RejectReason
from tasks.events import KeyValue, SpanDetails
from tasks.events.details import (
    EXCEPTION,
    SpanEvent,
    SpanLink,
    SpanResource,
    SpanRest,
    SpanScope,
    nanoseconds,
)
from tasks.events.otlp_values import Number

HEX: Final = re.compile("(?:[0-9a-fA-F]{2})*")
STATUS: Final = {"STATUS_CODE_UNSET": 0, "STATUS_CODE_OK": 1, "STATUS_CODE_ERROR": 2, "1": 1, "2": 2}
KINDS: Final = {
    spelling: number
    for number, name in enumerate(("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"))
    for spelling in (f"SPAN_KIND_{name}", str(number))
}
# In a string a quote is escaped, so a name in quotes and before a colon is a name.
SNAKE: Final = re.compile(
    rb'"(trace_id|span_id|parent_span_id|(?:start|end)_time_unix_nano|trace_state'
    rb'|dropped_(?:attributes|events|links)_count)"(?=\s*:)'
)
COUNTS = attrgetter("flags", "dropped_attributes_count", "dropped_events_count", "dropped_links_count")
_span = msgspec.json.Decoder(Span)
_event = msgspec.json.Decoder(ExportedEvent)
_link = msgspec.json.Decoder(ExportedLink)
_scope = msgspec.json.Decoder(ExportedScope)
_waiting = msgspec.json.Decoder(ExportRequest[msgspec.Raw])
_group = msgspec.json.Decoder(AroundScopes)
_scope_spans = msgspec.json.Decoder(AroundSpans)


def read_span(text: bytes) -> Span:
    """One span, in either spelling of its names. Raises what is in `Unreadable`."""
    span = _span.decode(text)
    return _span.decode(SNAKE.sub(camel, text)) if span.trace_id is None or span.span_id is None else span


def details_of(text: bytes, origin: Origin, known: Pairs) -> SpanDetails:
    """The details of a span. `known` are attributes that need not be read again."""
    span = read_span(bytes(text))
    code = span.status.code if span.status else None
    return SpanDetails(
        trace_state=span.trace_state or "",
        flags=_count(span.flags),
        resource=origin.resource,
        scope=origin.scope,
        span=SpanRest(
            start_time_unix_nano=_time(span.start_time_unix_nano),
            end_time_unix_nano=_time(span.end_time_unix_nano),
            attributes=_raw_pairs(span.attributes, known),
            kind=unnamed_kind(kind_of(span.kind)),
            status_code=_enum(code, STATUS),
            nameless=not span.name,
            dropped_attributes_count=_count(span.dropped_attributes_count),
            dropped_events_count=_count(span.dropped_events_count),
            dropped_links_count=_count(span.dropped_links_count),
        ),
        events=[_span_event(bytes(one)) for one in span.events or ()],
        links=[_span_link(bytes(one)) for one in span.links or ()],
    )


def kind_of(kind: int | str | None) -> int:
    """As OTLP numbers kinds of spans; 0 for a name that it does not have, and for what is no enum."""
    return _enum(kind, KINDS)


class WaitingSpans(NamedTuple):
    """The spans of a scope as bytes, with what is around them."""

    pieces: Sequence[bytes]
    group: AroundScopes
    scope: AroundSpans


def scopes_of(data: bytes) -> Iterator[WaitingSpans]:
    """The spans of each scope of an export that can be read as a whole."""
    for group in _waiting.decode(data).resource_spans or []:
        for scope in group.scopes:
            yield WaitingSpans(scope.spans or [], group, scope)


def origin_of(spans: WaitingSpans) -> Origin:
    """What these spans share."""
    resource = spans.group.resource
    return _origin(spans.group, spans.scope, None if resource is None else resource.attributes)


def origin_of_slot(slot: Slot) -> Origin:
    """What the spans of a slot share."""
    group, scope = _group.decode(camel_names(slot.group)), _scope_spans.decode(camel_names(slot.scope))
    return _origin(group, scope, slot.resource)


def _origin(
    group: AroundScopes, scope: AroundSpans, attributes: Sequence[bytes | msgspec.Raw] | None
) -> Origin:
    dropped = _count(group.resource.dropped_attributes_count if group.resource else None)
    return Origin(SpanResource(_raw_pairs(attributes, {}), dropped, _text(_url(group))), _span_scope(scope))


def look_at_all(spans: Sequence[Span]) -> Looked:
    """Which spans have an event that tells of an exception, and which hold what can't be kept: bad_details,
    nul_character.
    """
    try:
        for counts in set(map(COUNTS, spans)):
            _counts(counts)
        some = [row for row, span in enumerate(spans) if span.events or span.links or span.trace_state]
    except ValueError:
        some = list(range(len(spans)))
    return look((row, partial(_look_at, spans[row])) for row in some)


def look_around(group: AroundScopes, scope: AroundSpans) -> int:
    """How many bytes a scope and its schema URLs have.

    Raises `Unread` for those that can't be kept: bad_details, nul_character.
    """
    urls = len((_url(group) or "").encode()) + len((_url(scope) or "").encode())
    size = urls + len(scope.scope) + len(scope.instrumentation_library)
    bound_scope(size)
    with _readable("the scope, a schema URL or a count"):
        _span_scope(scope)
        _text(_url(group))
        _count(group.resource.dropped_attributes_count if group.resource else None)
    return size


def look_around_apart(group: bytes, scope: bytes) -> int:
    """As `look_around`, of what waits as bytes."""
    with _readable("the scope, a schema URL or the resource"):
        around, spans = _group.decode(camel_names(group)), _scope_spans.decode(camel_names(scope))
    return look_around(around, spans)


def _look_at(span: Span) -> bool:
    events, links = span.events or (), span.links or ()
    state = span.trace_state or ""
    bound_own([len(state.encode()), *map(len, events), *map(len, links)], len(events), len(links))
    with _readable("a span event, a link or a count"):
        _counts(COUNTS(span))
        _text(state)
        for link in links:
            _span_link(bytes(link))
        made = [_span_event(bytes(event)) for event in events]
    return any(event.name == EXCEPTION for event in made)


@contextmanager
def _readable(what: str) -> Iterator[None]:
    """Makes `Unread` of what is raised for JSON that is no message of OTLP."""
    try:
        yield
    except (*Unreadable, msgspec.MsgspecError, ValueError) as error:
        raise Unread(RejectReason.BAD_DETAILS, f"{what}: {error}"[:DETAIL]) from None


def _span_event(text: bytes) -> SpanEvent:
    event = _event.decode(camel_names(text))
    return SpanEvent(
        _time(event.time_unix_nano),
        _text(event.name),
        canonical.pairs(event.attributes, without_nul),
        _count(event.dropped_attributes_count),
    )


def _span_link(text: bytes) -> SpanLink:
    link = _link.decode(camel_names(text))
    return SpanLink(
        _id(link.trace_id),
        _id(link.span_id),
        _text(link.trace_state),
        canonical.pairs(link.attributes, without_nul),
        _count(link.dropped_attributes_count),
        _count(link.flags),
    )


def _span_scope(spans: AroundSpans) -> SpanScope:
    text = bytes(spans.scope)
    if text in (b"", b"null"):
        text = bytes(spans.instrumentation_library)
    scope = ExportedScope() if text in (b"", b"null") else _scope.decode(camel_names(text))
    return SpanScope(
        _text(scope.name),
        _text(scope.version),
        canonical.pairs(scope.attributes, without_nul),
        _count(scope.dropped_attributes_count),
        _text(_url(spans)),
    )


def _raw_pairs(raws: Sequence[bytes | msgspec.Raw] | None, known: Pairs) -> list[KeyValue]:
    made = []
    for raw in map(bytes, raws or ()):
        if raw not in known:
            known[raw] = canonical.pair(read_pair(raw), without_nul)
        made.append(known[raw])
    return made


def _enum(given: int | str | None, names: Mapping[str, int]) -> int:
    """An enum of protobuf's has 32 bits, of which not all have names."""
    number = names.get(given, 0) if isinstance(given, str) else given or 0
    return number if -(2**31) <= number < 2**31 else 0


def _id(text: str | None) -> str:
    if not HEX.fullmatch(text or ""):
        raise ValueError("an id that is not hexadecimal")
    return (text or "").lower()


def _time(value: Number | None) -> str:
    return nanoseconds(0 if value is None else whole(value, 0, 2**64 - 1))


def _counts(values: Sequence[Number | None]) -> None:
    for value in values:
        _count(value)


def _count(value: Number | None) -> int:
    return 0 if value is None else whole(value, 0, 2**32 - 1)


def _url(around: AroundScopes | AroundSpans) -> str | None:
    return around.schema_url or around.snake_url


def _text(text: str | None) -> str:
    return without_nul(text or "")

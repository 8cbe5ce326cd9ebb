"""The attributes within details: those of spans, resources, scopes, span events and links."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from msgspec.structs import replace

from tasks.events import AnyValue, KeyValue, SpanDetails
from tasks.events.details import SpanEvent, SpanLink, SpanResource, SpanRest, SpanScope
from tasks.processors.attributes import Details

Pairs = Sequence[KeyValue]
Holder = TypeVar("Holder", SpanResource, SpanScope, SpanRest, SpanEvent, SpanLink)


def found(details: Details) -> tuple[list[KeyValue], list[AnyValue]]:
    """All pairs of these details, at any depth, and all values that are no arrays and no lists; each once."""
    pairs: list[KeyValue] = []
    values: list[AnyValue] = []
    seen: set[int] = set()  # lists of attributes that several share
    for one in details:
        for holder in _holders(one) if one is not None else ():
            if id(holder.attributes) not in seen:
                seen.add(id(holder.attributes))
                _collect(holder.attributes, pairs, values)
    return pairs, values


def with_pairs(details: Details, change: Callable[[Pairs], list[KeyValue]]) -> Details:
    """The details with each list of attributes changed. What several share is changed once."""
    made: dict[int, Any] = {}  # by the id of what it was made of

    def changed(holder: Holder) -> Holder:
        return replace(holder, attributes=change(holder.attributes)) if holder.attributes else holder

    def shared(holder: Holder | None) -> Holder | None:
        if holder is None:
            return None
        one: Holder = made.get(id(holder)) or changed(holder)
        made[id(holder)] = one
        return one

    return [
        one
        and replace(
            one,
            resource=shared(one.resource),
            scope=shared(one.scope),
            span=one.span and changed(one.span),
            events=[changed(event) for event in one.events],
            links=[changed(link) for link in one.links],
        )
        for one in details
    ]


def value_text(value: AnyValue) -> str:
    """A value that is no array and no list, as the text that a condition on values is asked of."""
    if value.string_value is not None:
        return value.string_value
    given = (value.int_value, value.double_value, value.bytes_value, value.bool_value)
    return next((str(one) for one in given if one is not None), "")


def _holders(
    one: SpanDetails,
) -> Iterator[SpanResource | SpanScope | SpanRest | SpanEvent | SpanLink]:
    for holder in (one.resource, one.scope, one.span):
        if holder is not None:
            yield holder
    yield from one.events
    yield from one.links


def _collect(given: Pairs, pairs: list[KeyValue], values: list[AnyValue]) -> None:
    pairs += given
    waiting = [pair.value for pair in given]
    while waiting:
        value = waiting.pop()
        if value is None:
            continue
        if value.array_value is not None:
            waiting += value.array_value.values or ()
        elif value.kvlist_value is not None:
            inner = value.kvlist_value.values or ()
            pairs += inner
            waiting += [pair.value for pair in inner]
        else:
            values.append(value)

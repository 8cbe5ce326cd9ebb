"""The attributes within details: those of spans, resources, scopes, span events and links."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

from msgspec.structs import replace

from tasks.events import AnyValue, KeyValue, SpanDetails
from tasks.events.details import SpanEvent, SpanLink, SpanResource, SpanRest, SpanScope
from tasks.processors.attributes import Details

Pairs = Sequence[KeyValue]
Holder = TypeVar("Holder", SpanResource, SpanScope, SpanRest, SpanEvent, SpanLink)


@dataclass(frozen=True, slots=True)
class FoundPairs:
    """All pairs of some details, at any depth, and all values that are no arrays and no lists; each once.

    `of_pairs` and `of_values` are the pairs of a list of attributes that they are, or are within.
    """

    pairs: list[KeyValue] = field(default_factory=list)
    of_pairs: list[KeyValue] = field(default_factory=list)
    values: list[AnyValue] = field(default_factory=list)
    of_values: list[KeyValue] = field(default_factory=list)

    @classmethod
    def of(cls, details: Details) -> Self:
        """Those of these details."""
        made = cls()
        seen: set[int] = set()  # by their ids, since several lists may share a pair
        for one in details:
            for holder in _holders(one) if one is not None else ():
                for pair in holder.attributes:
                    if id(pair) not in seen:
                        seen.add(id(pair))
                        made._add(pair)
        return made

    def _add(self, top: KeyValue) -> None:
        self.pairs.append(top)
        self.of_pairs.append(top)
        waiting = [top.value]
        while waiting:
            value = waiting.pop()
            if value is None:
                continue
            if value.array_value is not None:
                waiting += value.array_value.values or ()
            elif value.kvlist_value is not None:
                inner = value.kvlist_value.values or ()
                self.pairs.extend(inner)
                self.of_pairs.extend([top] * len(inner))
                waiting += [pair.value for pair in inner]
            else:
                self.values.append(value)
                self.of_values.append(top)


def with_pairs(details: Details, change: Callable[[Pairs], Pairs]) -> Details:
    """The details with each list of attributes changed, those without a change as they were: `change` gives
    back the very list then. What several share is changed once.
    """
    made: dict[int, Any] = {}  # by the id of what it was made of

    def changed(holder: Holder | None) -> Holder | None:
        if holder is None or not holder.attributes:
            return holder
        pairs = change(holder.attributes)
        return holder if pairs is holder.attributes else replace(holder, attributes=list(pairs))

    def shared(holder: Holder | None) -> Holder | None:
        if id(holder) not in made:
            made[id(holder)] = changed(holder)
        one: Holder | None = made[id(holder)]
        return one

    def whole(one: SpanDetails) -> SpanDetails:
        parts = {
            "resource": shared(one.resource),
            "scope": shared(one.scope),
            "span": changed(one.span),
            "events": _if_changed(one.events, changed),
            "links": _if_changed(one.links, changed),
        }
        new = {name: part for name, part in parts.items() if part is not getattr(one, name)}
        return replace(one, **new) if new else one

    return [one and whole(one) for one in details]


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


def _if_changed(holders: list[Holder], change: Callable[[Holder], Holder | None]) -> Sequence[Holder | None]:
    """The holders changed; the very list when none of them was."""
    made = [change(one) for one in holders]
    return made if any(new is not old for new, old in zip(made, holders, strict=True)) else holders

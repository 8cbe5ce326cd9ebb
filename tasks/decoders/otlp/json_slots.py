"""A trace export in JSON told apart by its brackets, whatever its parts hold; names in either spelling."""

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Final

from tasks.decoders.json_pieces import Member, Torn, elements, members
from tasks.decoders.otlp.slots import Slot, not_understood

GROUPS: Final = ("resourceSpans", "resource_spans")
SCOPES: Final = (  # of the names that a group has, the first with anything in it
    "scopeSpans",
    "scope_spans",
    "instrumentationLibrarySpans",
    "instrumentation_library_spans",
)
SPANS: Final = ("spans",)
URL: Final = ("schemaUrl", "schema_url")
OF_A_GROUP: Final = (*SCOPES, *URL, "resource")
OF_SPANS: Final = (*URL, "scope", "instrumentationLibrary", "instrumentation_library")
OF_A_SCOPE: Final = (*SPANS, *OF_SPANS)
ATTRIBUTES: Final = ("attributes",)
DROPPED: Final = ("droppedAttributesCount", "dropped_attributes_count")
NOTHING: Final = (b"", b"null", b"[]", b"{}", b'""')


def slots(data: bytes) -> Iterator[Slot]:
    """All of an export, in order.

    Raises `Torn` when its groups can't be told apart, `UnfitBatch` (not_understood) when it has none, but
    something else.
    """
    given = members(data)
    groups = _list(given, GROUPS)
    if not groups and (strange := _strange(given, GROUPS)):
        raise not_understood(strange)
    for group in groups:
        yield from _group(group)


def _group(text: bytes) -> Iterator[Slot]:
    around_group = partial(_around, b'{"resourceSpans":[', b"]}")
    try:
        given = members(text)
        resource = _resource(given)
        attributes = _list(resource, ATTRIBUTES)
        scopes = _list(given, SCOPES)
    except Torn as error:
        yield Slot([text], around_group, wrong=f"resourceSpans: {error}")
        return
    if not scopes and (strange := _strange(given, OF_A_GROUP)):
        yield Slot([text], around_group, wrong=f"resourceSpans: no scopeSpans, but {strange[0]}")
        return
    head = b'{"resourceSpans":[{%b"scopeSpans":[' % _others(given, SCOPES)
    if not scopes:
        yield Slot([], around_group)
    around = [b'"resource":{%b}' % _members(resource, DROPPED), _members(given, URL)]
    for scope in scopes:
        yield _scope(scope, head, attributes, b"{%b}" % b",".join(filter(None, around)))


def _scope(text: bytes, head: bytes, resource: Sequence[bytes], group: bytes) -> Slot:
    around_scope = partial(_around, head, b"]}]}")
    try:
        given = members(text)
        spans = _list(given, SPANS)
    except Torn as error:
        return Slot([text], around_scope, wrong=f"scopeSpans: {error}")
    if not spans and (strange := _strange(given, OF_A_SCOPE)):
        return Slot([text], around_scope, wrong=f"scopeSpans: no spans, but {strange[0]}")
    head = head + b'{%b"spans":[' % _others(given, SPANS)
    around_span = partial(_around, head, b"]}]}]}")
    return Slot(spans, around_span, resource=resource, group=group, scope=b"{%b}" % _members(given, OF_SPANS))


def _resource(group: Iterable[Member]) -> list[Member]:
    """The members of a group's resource. Raises `Torn`."""
    resource = _value(group, ("resource",))
    return [] if resource in NOTHING else members(resource)


def _value(given: Iterable[Member], names: Sequence[str]) -> bytes:
    """Of the first name that says anything, the last value, as parsers take it."""
    by_name = {member.name: member.value for member in given if member.name in names}
    values = (by_name.get(name, b"") for name in names)
    return next((value for value in values if value not in NOTHING), b"")


def _list(given: Iterable[Member], names: Sequence[str]) -> list[bytes]:
    value = _value(given, names)
    return [] if value in NOTHING else elements(value)


def _strange(given: Iterable[Member], known: Sequence[str]) -> list[str]:
    """The names that an export does not have, of members that hold something."""
    return [one.name for one in given if one.name not in known and one.value not in NOTHING]


def _others(given: Iterable[Member], without: Sequence[str]) -> bytes:
    """The members of an object but those, to be followed by another."""
    return b"".join(one.text + b"," for one in given if one.name not in without)


def _members(given: Iterable[Member], names: Sequence[str]) -> bytes:
    """The members of these names."""
    return b",".join(one.text for one in given if one.name in names)


def _around(head: bytes, tail: bytes, piece: bytes) -> bytes:
    return head + piece + tail

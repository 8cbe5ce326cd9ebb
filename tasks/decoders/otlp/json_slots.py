"""An export in JSON told apart by its brackets, whatever its parts hold; names in either spelling."""

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Final, NamedTuple

from tasks.decoders.json_pieces import Member, Torn, elements, members
from tasks.decoders.otlp.slots import LOGS, TRACES, Signal, Slot, not_understood

URL: Final = ("schemaUrl", "schema_url")
SCOPE: Final = ("scope", "instrumentationLibrary", "instrumentation_library")
ATTRIBUTES: Final = ("attributes",)
DROPPED: Final = ("droppedAttributesCount", "dropped_attributes_count")
CAPITAL: Final = re.compile("[A-Z]")
NOTHING: Final = (b"", b"null", b"[]", b"{}", b'""')


class _Names(NamedTuple):
    """The names that parts have in one signal, in both spellings; of those of scopes, the first with anything
    in it counts.
    """

    signal: Signal
    groups: tuple[str, ...]
    scopes: tuple[str, ...]
    records: tuple[str, ...]


def _names(signal: Signal) -> _Names:
    scopes = (*_spellings(signal.scopes), *_spellings(signal.older_scopes))
    return _Names(signal, _spellings(signal.groups), scopes, _spellings(signal.records))


def _spellings(name: str) -> tuple[str, ...]:
    snake = CAPITAL.sub(lambda capital: f"_{capital[0].lower()}", name)
    return tuple(dict.fromkeys((name, snake)))


_NAMES: Final = {signal: _names(signal) for signal in (TRACES, LOGS)}


def slots(data: bytes, signal: Signal = TRACES) -> Iterator[Slot]:
    """All of an export, in order.

    Raises `Torn` when its groups can't be told apart, `UnfitBatch` (not_understood) when it has none, but
    something else.
    """
    names = _NAMES[signal]
    given = members(data)
    groups = _list(given, names.groups)
    if not groups and (strange := _strange(given, names.groups)):
        raise not_understood(strange, signal)
    for group in groups:
        yield from _group(group, names)


def _group(text: bytes, names: _Names) -> Iterator[Slot]:
    signal = names.signal
    around_group = partial(_around, b'{"%b":[' % signal.groups.encode(), b"]}")
    try:
        given = members(text)
        resource = _resource(given)
        attributes = _list(resource, ATTRIBUTES)
        scopes = _list(given, names.scopes)
    except Torn as error:
        yield Slot([text], around_group, wrong=f"{signal.groups}: {error}")
        return
    if not scopes and (strange := _strange(given, (*names.scopes, *URL, "resource"))):
        wrong = f"{signal.groups}: no {signal.scopes}, but {strange[0]}"
        yield Slot([text], around_group, wrong=wrong)
        return
    others = _others(given, names.scopes)
    head = b'{"%b":[{%b"%b":[' % (signal.groups.encode(), others, signal.scopes.encode())
    if not scopes:
        yield Slot([], around_group)
    around = [b'"resource":{%b}' % _members(resource, DROPPED), _members(given, URL)]
    group = b"{%b}" % b",".join(filter(None, around))
    for scope in scopes:
        yield _scope(scope, head, names, attributes, group)


def _scope(text: bytes, head: bytes, names: _Names, resource: Sequence[bytes], group: bytes) -> Slot:
    signal = names.signal
    around_scope = partial(_around, head, b"]}]}")
    try:
        given = members(text)
        records = _list(given, names.records)
    except Torn as error:
        return Slot([text], around_scope, wrong=f"{signal.scopes}: {error}")
    if not records and (strange := _strange(given, (*names.records, *URL, *SCOPE))):
        wrong = f"{signal.scopes}: no {signal.records}, but {strange[0]}"
        return Slot([text], around_scope, wrong=wrong)
    inner = b'{%b"%b":[' % (_others(given, names.records), signal.records.encode())
    around_record = partial(_around_record, head, inner)
    said = b"{%b}" % _members(given, (*URL, *SCOPE))
    return Slot(records, around_record, resource=resource, group=group, scope=said)


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


def _around_record(head: bytes, inner: bytes, piece: bytes) -> bytes:
    """`head` is one object for all scopes of a group, large ones and many: it is not copied before."""
    return head + inner + piece + b"]}]}]}"


def _around(head: bytes, tail: bytes, piece: bytes) -> bytes:
    return head + piece + tail

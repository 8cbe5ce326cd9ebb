"""An export in protobuf told apart: messages within messages as bytes, each read by itself.

Of traces and of logs alike: groups, scopes and what lies in them have the same field numbers in both.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from tasks.decoders.otlp.protobuf_messages import Group, RawGroup, RawRequest, RawScope
from tasks.decoders.otlp.slots import TRACES, Signal, Slot, not_understood

RESOURCE, SCOPE, URL = 1, 1, 3  # fields of groups and scopes that hold no spans


def slots(data: bytes, signal: Signal = TRACES) -> Iterator[Slot]:
    """All of an export, in order.

    Raises DecodeError when its groups can't be told apart, `UnfitBatch` (not_understood) when there are none
    but other fields.
    """
    request = RawRequest.FromString(data)
    if not request.resource_spans and (strange := _strange(request, ())):
        raise not_understood(strange, signal)
    for group in request.resource_spans:
        yield from _group(group, signal)


def _group(data: bytes, signal: Signal) -> Iterator[Slot]:
    try:
        group = RawGroup.FromString(data)
        scopes = list(group.scope_spans or group.instrumentation_library_spans)
        group.ClearField("scope_spans")
        group.ClearField("instrumentation_library_spans")
        rest = group.SerializeToString()
        resource = list(Group.FromString(rest).resource.attributes)
    except DecodeError:
        yield Slot([data], _around_group, wrong=f"{signal.groups}: not a message")
        return
    if not scopes and (strange := _strange(group, (RESOURCE, URL))):
        yield Slot([data], _around_group, wrong=f"{signal.groups}: no {signal.scopes}, but {strange[0]}")
        return
    if not scopes:
        yield Slot([], _around_group)
    for scope in scopes:
        yield _scope(scope, rest, resource, signal)


def _scope(data: bytes, group: bytes, resource: Sequence[bytes], signal: Signal) -> Slot:
    around_scope = partial(_around_scope, group)
    try:
        scope = RawScope.FromString(data)
    except DecodeError:
        return Slot([data], around_scope, wrong=f"{signal.scopes}: not a message")
    spans = list(scope.spans)
    if not spans and (strange := _strange(scope, (SCOPE, URL))):
        return Slot([data], around_scope, wrong=f"{signal.scopes}: no {signal.records}, but {strange[0]}")
    scope.ClearField("spans")
    rest = scope.SerializeToString()
    return Slot(spans, partial(_around_span, group, rest), resource=resource, group=group, scope=rest)


def _strange(message: Any, known: Sequence[int]) -> list[str]:
    """The fields of `message` that its type does not have, but for those `known` otherwise."""
    fields = UnknownFieldSet(message)
    numbers = [fields[index].field_number for index in range(len(fields))]
    return [f"field {number}" for number in numbers if number not in known]


def _around_group(group: bytes) -> bytes:
    written: bytes = RawRequest(resource_spans=[group]).SerializeToString()
    return written


def _around_scope(group: bytes, scope: bytes) -> bytes:
    """`group` is what else the scope's group holds; in protobuf, messages one behind the other are one."""
    return _around_group(group + RawGroup(scope_spans=[scope]).SerializeToString())


def _around_span(group: bytes, scope: bytes, span: bytes) -> bytes:
    return _around_scope(group, scope + RawScope(spans=[span]).SerializeToString())

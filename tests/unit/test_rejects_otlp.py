"""Every reason for which OTLP's spans are rejected: sent again unchanged, each fails again for it."""

import json
from collections.abc import Callable
from typing import Any, Final

import pytest

from tasks.decoders import RejectReason
from tests.unit import decode_samples as samples
from tests.unit.decode_samples import decode, raw
from tests.unit.otlp_exports import field
from tests.unit.test_rejects_replayed import fail_again

# Kinds and states are enumerations in OTLP: an unknown number is none of ours to refuse.
NOT_OF_OTLP: Final = {"bad_kind", "bad_status"}


def in_json(change: Callable[[Any, Any], object], *text: tuple[str, str]) -> bytes:
    """An export of two spans of two resources; `change` gets the second group and its span."""
    document = json.loads(samples.otlp_json(samples.otlp(samples.table(12))))
    groups = document["resourceSpans"] = document["resourceSpans"][:2]
    for group in groups:
        group["scopeSpans"] = group["scopeSpans"][:1]
        del group["scopeSpans"][0]["spans"][1:]
    change(groups[1], groups[1]["scopeSpans"][0]["spans"][0])
    written = json.dumps(document)
    for old, new in text:
        written = written.replace(old, new)
    return written.encode("utf-8", "surrogateescape")


def named(key: str, value: str) -> dict[str, Any]:
    return {"attributes": [{"key": key, "value": {"stringValue": value}}]}


IN_JSON: Final = {
    "not_json": in_json(lambda _, span: span.update(name="@"), ('"@"', '"\\ud83d"')),
    "bad_field": in_json(lambda _, span: span.update(name=5)),
    "bad_group": in_json(lambda group, _: group.update(resource=7)),
    "bad_utf8": in_json(lambda _, span: span.update(name="@"), ('"@"', '"\udcff"')),
    "bad_event_id": in_json(lambda _, span: span.update(spanId="")),
    "bad_trace_id": in_json(lambda _, span: span.update(traceId="ab")),
    "bad_parent_id": in_json(lambda _, span: span.update(parentSpanId="root")),
    "bad_time": in_json(lambda _, span: span.update(startTimeUnixNano="5")),
    "bad_duration": in_json(lambda _, span: span.update(endTimeUnixNano="5")),
    "bad_service": in_json(lambda group, _: group.update(resource=named("service.name", "s" * 1_025))),
    "bad_operation": in_json(lambda _, span: span.update(name="n" * 1_025)),
    "bad_status_message": in_json(lambda _, span: span.update(status={"message": "m" * 16_385})),
    "bad_user_id": in_json(lambda _, span: span.update(named("user.id", "u" * 1_025))),
    "bad_attributes": in_json(lambda _, span: span.update(named("k" * 257, "v"))),
    "bad_details": in_json(lambda _, span: span.update(events=[5])),
    "nul_character": in_json(lambda _, span: span.update(name="a\0b")),
}


def in_protobuf(change: Callable[[Any, Any], object]) -> bytes:
    """The same in protobuf."""
    request = samples.otlp(samples.table(12))
    del request.resource_spans[2:]
    for group in request.resource_spans:
        del group.scope_spans[1:], group.scope_spans[0].spans[1:]
    group = request.resource_spans[1]
    change(group, group.scope_spans[0].spans[0])
    return bytes(request.SerializeToString())


def _good() -> bytes:
    request = samples.otlp(samples.table(1))
    return bytes(request.SerializeToString())


IN_PROTOBUF: Final = {
    "bad_field": _good() + field(1, field(2, field(2, b"\xff\xff"))),
    "bad_group": _good() + field(1, field(1, b"\xff\xff") + field(2, field(2, b""))),
    "bad_utf8": in_protobuf(lambda _, span: setattr(span, "name", "not-UTF-8")).replace(
        b"not-U", b"not-\xff"
    ),
    "bad_event_id": in_protobuf(lambda _, span: setattr(span, "span_id", b"")),
    "bad_trace_id": in_protobuf(lambda _, span: setattr(span, "trace_id", b"ab")),
    "bad_parent_id": in_protobuf(lambda _, span: setattr(span, "parent_span_id", b"x" * 9)),
    "bad_time": in_protobuf(lambda _, span: setattr(span, "start_time_unix_nano", 5)),
    "bad_duration": in_protobuf(lambda _, span: setattr(span, "end_time_unix_nano", 5)),
    "bad_service": in_protobuf(
        lambda group, _: samples.attribute(group.resource, "service.name", "s" * 1_025)
    ),
    "bad_operation": in_protobuf(lambda _, span: setattr(span, "name", "n" * 1_025)),
    "bad_status_message": in_protobuf(lambda _, span: setattr(span.status, "message", "m" * 16_385)),
    "bad_user_id": in_protobuf(lambda _, span: samples.attribute(span, "user.id", "u" * 1_025)),
    "bad_attributes": in_protobuf(lambda _, span: samples.attribute(span, "k" * 257, "v")),
    "bad_details": in_protobuf(lambda _, span: setattr(span.events.add(), "name", "n" * 2**18)),
    "nul_character": in_protobuf(lambda _, span: samples.attribute(span, "k", "a\0b")),
}
CASES: Final = [
    *(("otlp-json", reason, body) for reason, body in IN_JSON.items()),
    *(("otlp-protobuf", reason, body) for reason, body in IN_PROTOBUF.items()),
]


@pytest.mark.parametrize(
    ("form", "reason", "body"), CASES, ids=[f"{form}-{reason}" for form, reason, _ in CASES]
)
def test_a_span_that_is_rejected_for_any_reason_fails_again_for_it(
    form: str, reason: str, body: bytes
) -> None:
    assert fail_again(body, form) == [reason]
    assert decode(raw(body, form)).counts == [1]


def test_there_is_a_span_for_every_reason() -> None:
    reasons = set(map(str, RejectReason)) - NOT_OF_OTLP
    assert set(IN_JSON) == reasons
    assert set(IN_PROTOBUF) == reasons - {"not_json"}

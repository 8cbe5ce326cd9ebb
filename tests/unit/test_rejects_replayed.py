"""A reject is its event as it was sent: posted again unchanged, it fails again for the same reason."""

import json
from collections.abc import Mapping
from typing import Any, Final

import pyarrow as pa
import pyarrow.ipc
import pytest
from hypothesis import given, strategies as st

from tasks.decoders import DecodeLimits, RejectReason, UnfitBatch, events_at
from tests.examples import examples
from tests.unit import decode_samples as samples
from tests.unit.arrow_streams import broken_rows
from tests.unit.decode_samples import decode, raw
from tests.unit.test_decode_hostile import EDIT, edited
from tests.unit.test_decode_nasties import JSON_VALUES, OTLP_JSON
from tests.unit.test_decode_nasties_binary import ARROW, PROTOBUF

Span = dict[str, Any]


def fail_again(body: bytes, form: str) -> list[str]:
    """The reasons of a body's rejects, each of which was posted again alone, and again after that."""
    found = []
    for reject in decode(raw(body, form)).rejects:
        replay = decode(raw(reject.data, reject.format))
        assert (replay.unfit, replay.counts, len(replay.rejects)) == ({}, [0], 1), (reject, replay)
        again = replay.rejects[0]
        assert (again.row, again.reason, again.detail) == (0, reject.reason, reject.detail)
        assert (again.data, again.format) == (reject.data, reject.format)
        assert reject.format == form
        found.append(str(reject.reason))
    return found


def text(value: str) -> dict[str, Any]:
    return {"stringValue": value}


def pair(key: str, **value: Any) -> dict[str, Any]:
    return {"key": key, "value": value}


MANY: Final = [pair(str(number), intValue=number) for number in range(200)]
# What is wrong with a span in OTLP/JSON, and for which reason it is rejected. Values stand as JSON.
WRONG_SPANS: Final[dict[str, tuple[Mapping[str, Any], RejectReason]]] = {
    "a name that is a number": ({"name": 5}, RejectReason.BAD_FIELD),
    "an id of zeros": ({"spanId": "0" * 16}, RejectReason.BAD_EVENT_ID),
    "an id that is short": ({"spanId": "ab"}, RejectReason.BAD_EVENT_ID),
    "an id that is not hexadecimal": ({"spanId": "shop, cart and more"[:16]}, RejectReason.BAD_EVENT_ID),
    "no id": ({"spanId": None}, RejectReason.BAD_EVENT_ID),
    "a long trace id": ({"traceId": "ab" * 17}, RejectReason.BAD_TRACE_ID),
    "a parent that is no id": ({"parentSpanId": "root"}, RejectReason.BAD_PARENT_ID),
    "a time that is no number": ({"startTimeUnixNano": "soon"}, RejectReason.BAD_TIME),
    "a time of 1970": ({"startTimeUnixNano": "5"}, RejectReason.BAD_TIME),
    "an end that is no number": ({"endTimeUnixNano": "later"}, RejectReason.BAD_DURATION),
    "an end before the start": ({"endTimeUnixNano": "5"}, RejectReason.BAD_DURATION),
    "a long name": ({"name": "n" * 1_025}, RejectReason.BAD_OPERATION),
    "a long message": ({"status": {"message": "m" * 16_385}}, RejectReason.BAD_STATUS_MESSAGE),
    "a long user": (
        {"attributes": [{"key": "user.id", "value": text("u" * 1_025)}]},
        RejectReason.BAD_USER_ID,
    ),
    "an integer with a fraction": (
        {"attributes": [pair("bad", intValue="12.5")]},
        RejectReason.BAD_ATTRIBUTES,
    ),
    "an attribute that is none": ({"attributes": [7]}, RejectReason.BAD_ATTRIBUTES),
    "too many attributes": ({"attributes": MANY}, RejectReason.BAD_ATTRIBUTES),
    "a long value": ({"attributes": [pair("k", stringValue="v" * 16_385)]}, RejectReason.BAD_ATTRIBUTES),
    "NUL": ({"name": "a\0b"}, RejectReason.NUL_CHARACTER),
}


def spans_of(document: Any) -> list[Span]:
    return [
        span
        for group in document["resourceSpans"]
        for scope in group["scopeSpans"]
        for span in scope["spans"]
    ]


@pytest.mark.parametrize(("changes", "reason"), WRONG_SPANS.values(), ids=WRONG_SPANS.keys())
def test_a_rejected_span_in_json_is_replayed_with_its_bytes_its_scope_and_its_resource(
    changes: Mapping[str, Any], reason: RejectReason
) -> None:
    document = json.loads(samples.otlp_json(samples.otlp(samples.table(12))))
    for group in document["resourceSpans"]:
        group["schemaUrl"] = "https://example.org"
        group["scopeSpans"][0]["scope"] = {"name": "é"}
    spans = spans_of(document)
    spans[3] |= dict(changes) | {"traceState": "not read"}
    body = json.dumps(document).encode()
    assert fail_again(body, "otlp-json") == [reason]
    decoded = decode(raw(body, "otlp-json"))
    assert (decoded.counts, decoded.rejects[0].row) == ([11], 3)
    kept = json.loads(decoded.rejects[0].data)
    group = next(group for group in document["resourceSpans"] if spans[3] in group["scopeSpans"][0]["spans"])
    group["scopeSpans"][0]["spans"] = [spans[3]]
    assert kept == {"resourceSpans": [group]}


def wrong_in_protobuf() -> dict[str, tuple[bytes, RejectReason]]:
    """Requests of 12 spans, in ten resources, of which the span at row 3 is wrong."""
    made = {}

    def add(name: str, reason: RejectReason, /, **fields: Any) -> None:
        request = samples.otlp(samples.table(12))
        span = request.resource_spans[1].scope_spans[0].spans[1]
        attributes = fields.pop("attributes", {})
        for field, value in fields.items():
            setattr(span, field, value)
        for key, value in attributes.items():
            samples.attribute(span, key, value)
        body = request.SerializeToString()
        made[name] = (body.replace(b"not-UTF-8", b"not-\xff\xff\xff-8"), reason)

    add("an id of zeros", RejectReason.BAD_EVENT_ID, span_id=bytes(8))
    add("an id that is short", RejectReason.BAD_EVENT_ID, span_id=b"ab")
    add("no trace id", RejectReason.BAD_TRACE_ID, trace_id=b"")
    add("a long parent", RejectReason.BAD_PARENT_ID, parent_span_id=b"x" * 9)
    add("a time of 1970", RejectReason.BAD_TIME, start_time_unix_nano=1)
    add("an end before the start", RejectReason.BAD_DURATION, end_time_unix_nano=1)
    add("a name that is not UTF-8", RejectReason.BAD_UTF8, name="not-UTF-8")
    add("a value that is not UTF-8", RejectReason.BAD_ATTRIBUTES, attributes={"k": "not-UTF-8"})
    add("a long name", RejectReason.BAD_OPERATION, name="n" * 1_025)
    add("a long user", RejectReason.BAD_USER_ID, attributes={"user.id": "u" * 1_025})
    add("a long key", RejectReason.BAD_ATTRIBUTES, attributes={"k" * 257: "v"})
    add("NUL", RejectReason.NUL_CHARACTER, attributes={"k": "a\0b"})
    return made


IN_PROTOBUF: Final = wrong_in_protobuf()


@pytest.mark.parametrize(("body", "reason"), IN_PROTOBUF.values(), ids=IN_PROTOBUF.keys())
def test_a_rejected_span_in_protobuf_is_replayed_with_its_bytes(body: bytes, reason: RejectReason) -> None:
    assert fail_again(body, "otlp-protobuf") == [reason]
    reject = decode(raw(body, "otlp-protobuf")).rejects[0]
    assert (reject.row, reject.reason) == (3, reason)
    request = samples.otlp(samples.table(12))
    resource = request.resource_spans[1].resource.SerializeToString()
    assert resource in reject.data
    assert request.resource_spans[0].scope_spans[0].spans[0].span_id not in reject.data


@pytest.mark.parametrize("body", samples.streams().values(), ids=samples.streams().keys())
def test_a_rejected_row_of_whatever_arrow_stream_is_replayed_with_its_types(body: bytes) -> None:
    first = decode(raw(body, "arrow", accepted_us=0))
    taken = decode(raw(body, "arrow"))
    assert len(first.rejects) == taken.counts[0]
    again = decode(*[raw(reject.data, "arrow", accepted_us=0) for reject in first.rejects])
    assert again.unfit == {}
    assert [one.data for one in again.rejects] == [one.data for one in first.rejects]
    assert samples.same(decode(*[raw(one.data, "arrow") for one in first.rejects]).events, taken.events)


# An event as JSON says it, for each reason that one can be rejected for in NDJSON and in arrays.
WRONG_EVENTS: Final[dict[str, str]] = {
    "not_json": '{"service": "\\ud83d"}',
    "bad_field": '{"service": 5}',
    "bad_utf8": '{"service": "\udcff"}',
    "bad_event_id": json.dumps(samples.one(event_id="0" * 16)),
    "bad_trace_id": json.dumps(samples.one(trace_id="short")),
    "bad_parent_id": json.dumps(samples.one(parent_id="x" * 16)),
    "bad_time": json.dumps(samples.one(started_at="soon")),
    "bad_duration": json.dumps(samples.one(duration_us=-1)),
    "bad_service": json.dumps(samples.one(service="")),
    "bad_operation": json.dumps(samples.one(operation="o" * 1_025)),
    "bad_kind": json.dumps(samples.one(kind="k" * 65)),
    "bad_status": json.dumps(samples.one(status="well")),
    "bad_status_message": json.dumps(samples.one(status_message="m" * 16_385)),
    "bad_user_id": json.dumps(samples.one(user_id="u" * 1_025)),
    "bad_attributes": json.dumps(samples.one(attributes={"k" * 257: 1})),
    "bad_details": json.dumps(samples.one(links=[{"traceId": "no id"}])),
    "nul_character": json.dumps(samples.one(user_id="a\0b")),
}


@pytest.mark.parametrize("form", ["ndjson", "json"])
@pytest.mark.parametrize(("reason", "event"), WRONG_EVENTS.items(), ids=WRONG_EVENTS.keys())
def test_a_rejected_event_in_json_is_replayed_with_its_own_text(reason: str, event: str, form: str) -> None:
    wrong = f" {event} ".encode("utf-8", "surrogateescape")
    good = json.dumps(samples.one()).encode()
    lines = [good, wrong, good]
    body = b"\n".join(lines) if form == "ndjson" else b"[" + b",".join(lines) + b"]"
    assert fail_again(body, form) == [reason]
    [reject] = decode(raw(body, form)).rejects
    assert (reject.row, reject.data) == (1, wrong if form == "ndjson" else b"[" + wrong.strip() + b"]")


# A column with one value that is wrong, and the reason, for each that an event in Arrow can be rejected for.
WRONG_COLUMNS: Final[dict[str, tuple[str, Any]]] = {
    "bad_utf8": ("service", b"\xff"),
    "bad_event_id": ("event_id", bytes(8)),
    "bad_trace_id": ("trace_id", "short"),
    "bad_parent_id": ("parent_id", "x" * 16),
    "bad_time": ("started_at", 0),
    "bad_duration": ("duration_us", -1),
    "bad_service": ("service", None),
    "bad_operation": ("operation", "o" * 1_025),
    "bad_kind": ("kind", "k" * 65),
    "bad_status": ("status", "well"),
    "bad_status_message": ("status_message", "m" * 16_385),
    "bad_user_id": ("user_id", "u" * 1_025),
    "bad_attributes": ("attributes", "{"),
    "bad_details": ("links", '[{"traceId": "no id"}]'),
    "nul_character": ("operation", "a\0b"),
}
NOT_OF_ARROW: Final = {"not_json", "bad_field", "bad_group"}


@pytest.mark.parametrize(("reason", "wrong"), WRONG_COLUMNS.items(), ids=WRONG_COLUMNS.keys())
def test_a_rejected_row_of_arrow_is_replayed_with_its_own_values(reason: str, wrong: tuple[str, Any]) -> None:
    name, value = wrong
    others = [one for one in samples.table(1).column_names if one != name]
    body = samples.ipc(samples.table(1).select(others).append_column(name, pa.array([value])))
    assert fail_again(body, "arrow") == [reason]
    [reject] = decode(raw(body, "arrow")).rejects
    assert pa.ipc.open_stream(reject.data).read_all()[name].to_pylist() == [value]


def test_there_is_an_event_for_every_reason() -> None:
    reasons = set(map(str, RejectReason))
    assert set(WRONG_EVENTS) == reasons - {"bad_group"}  # which only OTLP has
    assert set(WRONG_COLUMNS) == reasons - NOT_OF_ARROW


def nasty_bodies() -> list[tuple[str, bytes]]:
    """Every named nasty of the other tests."""
    found = [("otlp-protobuf", body) for body, _ in PROTOBUF.values()]
    found += [("arrow", body) for body, _ in [*ARROW.values(), *broken_rows(5, 2).values()]]
    good = json.dumps(samples.one()).encode()
    for field, value, _ in JSON_VALUES.values():
        event = json.dumps(samples.one() | {field: "@"}).replace('"@"', value).encode()
        found += [("ndjson", good + b"\n" + event + b"\n"), ("json", b"[" + good + b",\n" + event + b"]")]
    for field, value, _ in OTLP_JSON.values():
        request = json.loads(samples.otlp_json(samples.otlp(samples.table(1))))
        spans_of(request)[0][field] = "@"
        found.append(("otlp-json", json.dumps(request).replace('"@"', value).encode()))
    return found


def test_every_named_nasty_fails_again_for_its_reason() -> None:
    reasons = {reason for form, body in nasty_bodies() for reason in fail_again(body, form)}
    assert {"not_json", "bad_field", "bad_attributes", "bad_time", "nul_character"} <= reasons


@pytest.mark.parametrize("form", samples.FORMATS)
@examples(150)
@given(edits=st.lists(EDIT, min_size=1, max_size=5))
def test_whatever_tampering_makes_of_a_body_its_rejects_fail_again(
    form: str, edits: list[tuple[str, float, Any]]
) -> None:
    body = samples.written(samples.table(3), form)
    fail_again(edited(body, edits, len(body)), form)


@pytest.mark.parametrize("form", samples.FORMATS)
def test_what_was_wrong_by_the_clock_only_is_taken_when_its_time_has_come(form: str) -> None:
    events = samples.table(4)
    first = decode(raw(samples.written(events, form), form, accepted_us=0))
    assert (first.counts, len(first.rejects)) == ([0], 4)
    again = decode(*[raw(reject.data, reject.format) for reject in first.rejects])
    assert (again.counts, again.unfit) == ([1] * 4, {})
    assert samples.same(again.events, events)


@pytest.mark.parametrize("form", samples.FORMATS)
def test_events_are_picked_again_at_their_rows_as_far_as_the_batch_has_any(form: str) -> None:
    batch = raw(samples.written(samples.table(4), form), form, accepted_us=0)
    kept = {reject.row: reject.data for reject in decode(batch).rejects}
    assert list(events_at(batch, [1, 3, 5, 99], DecodeLimits())) == [(1, kept[1]), (3, kept[3])]
    assert list(events_at(batch, [99], DecodeLimits())) == []
    with pytest.raises(UnfitBatch):
        list(events_at(raw(b"{", form, "gzip"), [0], DecodeLimits()))

"""A span that came by OTLP, in protobuf or in JSON, is given back as it was, field by field."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tasks.decoders import RejectReason
from tasks.errors import WindowTooLarge
from tasks.events import otlp_export
from tests.examples import examples
from tests.unit.decode_samples import decode, otlp, otlp_json, raw, reasons, table
from tests.unit.otlp_exports import as_it_is, document, put, sent
from tests.unit.otlp_spans import exports, said, written
from tests.unit.otlp_wire import NASTY_DETAILS
from tests.unit.test_decode_otlp_names import LIBRARY, renamed, snake
from tests.unit.test_rejects_replayed import fail_again

FORMS = pytest.mark.parametrize("form", ["otlp-protobuf", "otlp-json"])


def body(export: ExportTraceServiceRequest, form: str) -> bytes:
    return export.SerializeToString() if form == "otlp-protobuf" else otlp_json(export)


def given_back(*bodies: bytes, form: str) -> list[dict[str, Any]]:
    """What is given back of each of the bodies of a window."""
    decoded = decode(*[raw(one, form) for one in bodies])
    assert (decoded.rejects, decoded.unfit) == ([], {})
    ends = np.cumsum(decoded.counts)
    return [
        otlp_export(decoded.good.slice(int(end) - count, count).whole())
        for end, count in zip(ends, decoded.counts, strict=True)
    ]


@FORMS
@examples(40)
@given(export=exports())
def test_what_comes_in_comes_out(form: str, export: ExportTraceServiceRequest) -> None:
    given_in = body(export, form)
    for back in given_back(given_in, given_in, form=form):
        assert said(back) == said(written(export))


def test_numbers_that_are_no_enum_are_none() -> None:
    made = written(one())
    span = made["resourceSpans"][1]["scopeSpans"][0]["spans"][0]
    for number in (2**31, -(2**31) - 1, 10**30):
        span["kind"], span["status"] = number, {"code": number}
        (back,) = given_back(json.dumps(made).encode(), form="otlp-json")
        found = back["resourceSpans"][1]["scopeSpans"][0]["spans"][0]
        assert ("kind" in found, "status" in found) == (False, False)


def one(**changes: Any) -> ExportTraceServiceRequest:
    """Three spans, the second of which has a span event, a link and a scope, and what is changed."""
    made = otlp(table(3))
    group = made.resource_spans[1]
    group.scope_spans[0].scope.name = "lib"
    span = group.scope_spans[0].spans[0]
    span.events.add(name="exception").attributes.add(key="exception.type").value.string_value = "KeyError"
    span.links.add(trace_id=b"\xab" * 16)
    for path, value in changes.items():
        *way, last = path.split("__")
        place: Any = group
        for step in way:
            place = place[int(step)] if step.isdigit() else getattr(place, step)
        setattr(place, last, value)
    return made


SPAN = "scope_spans__0__spans__0__"
REFUSED: dict[str, tuple[str, Any, RejectReason]] = {
    "NUL in an event's name": (f"{SPAN}events__0__name", "a\0", RejectReason.NUL_CHARACTER),
    "NUL in an event's attribute": (
        f"{SPAN}events__0__attributes__0__value__string_value",
        "\0",
        RejectReason.NUL_CHARACTER,
    ),
    "NUL in a link's trace state": (f"{SPAN}links__0__trace_state", "\0", RejectReason.NUL_CHARACTER),
    "NUL in the trace state": (f"{SPAN}trace_state", "\0", RejectReason.NUL_CHARACTER),
    "NUL in the scope's version": ("scope_spans__0__scope__version", "\0", RejectReason.NUL_CHARACTER),
    "NUL in a schema URL": ("schema_url", "\0", RejectReason.NUL_CHARACTER),
    "a long event": (f"{SPAN}events__0__name", "n" * 2**18, RejectReason.BAD_DETAILS),
    "a long trace state": (f"{SPAN}trace_state", "n" * 2**18, RejectReason.BAD_DETAILS),
    "a long scope": ("scope_spans__0__scope__name", "n" * 2**16, RejectReason.BAD_DETAILS),
    "a long schema URL": ("scope_spans__0__schema_url", "n" * 2**16, RejectReason.BAD_DETAILS),
}


@FORMS
@pytest.mark.parametrize(("path", "value", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_a_span_whose_details_cannot_be_kept_is_rejected_alone(
    path: str, value: Any, reason: RejectReason, form: str
) -> None:
    given_in = body(one(**{path: value}), form)
    decoded = decode(raw(given_in, form))
    assert (decoded.counts, [reject.row for reject in decoded.rejects]) == ([2], [1])
    assert fail_again(given_in, form) == [reason]


@FORMS
def test_a_rejected_span_keeps_its_events_links_scope_and_resource(form: str) -> None:
    (reject,) = decode(raw(body(one(**{f"{SPAN}span_id": b""}), form), form)).rejects
    mended = ExportTraceServiceRequest()
    data = json.loads(reject.data) if form == "otlp-json" else {}
    if data:
        back = data["resourceSpans"][0]["scopeSpans"][0]
    else:
        mended.ParseFromString(reject.data)
        back = written(mended)["resourceSpans"][0]["scopeSpans"][0]
    whole = written(one())["resourceSpans"][1]["scopeSpans"][0]
    assert back["scope"] == whole["scope"]
    assert back["spans"][0]["events"] == whole["spans"][0]["events"]
    assert back["spans"][0]["links"] == whole["spans"][0]["links"]


DEEP = '{"arrayValue": {"values": [' * 101
# What is wrong with a span in JSON: its field, and the JSON text of its value.
WRONG: dict[str, tuple[str, str]] = {
    "flags that are no number": ("flags", '"many"'),
    "flags beyond 32 bits": ("flags", str(2**32)),
    "a negative count": ("droppedEventsCount", "-1"),
    "an event that is a number": ("events", "[5]"),
    "an event's time that is no number": ("events", '[{"timeUnixNano": "soon"}]'),
    "an event's name that is a number": ("events", '[{"name": 5}]'),
    "an attribute's number beyond 64 bits": (
        "events",
        f'[{{"attributes": [{{"key": "a", "value": {{"intValue": "{2**63}"}}}}]}}]',
    ),
    "values nested too deep": (
        "links",
        f'[{{"attributes": [{{"key": "a", "value": {DEEP}{{"stringValue": "x"}}{"]}}" * 101}}}]}}]',
    ),
    "a link's id that is not hexadecimal": ("links", '[{"spanId": "shop and cart"}]'),
    "a link's id of an odd length": ("links", '[{"traceId": "abc"}]'),
    "many events": ("events", f"[{','.join(['{}'] * 1_025)}]"),
}


@pytest.mark.parametrize(("name", "text"), WRONG.values(), ids=WRONG.keys())
def test_details_in_json_that_are_none_are_rejected_with_their_span(name: str, text: str) -> None:
    export = document(3)
    put(export, ("resourceSpans", 1, "scopeSpans", 0, "spans", 0, name), as_it_is(text))
    decoded = sent(export)
    assert (decoded.counts, reasons(decoded)) == ([2], ["bad_details"])


def test_a_scope_in_json_that_is_none_costs_its_spans() -> None:
    for value in (5, {"name": 5}, {"droppedAttributesCount": -1}, {"attributes": [5]}):
        decoded = sent(put(document(3), ("resourceSpans", 1, "scopeSpans", 0, "scope"), value))
        assert (decoded.counts, reasons(decoded)) == ([2], ["bad_details"])
    decoded = sent(put(document(3), ("resourceSpans", 1, "schemaUrl"), 5))
    assert (decoded.counts, reasons(decoded)) == ([2], ["bad_details"])


def test_other_spellings_in_json_become_the_same() -> None:
    usual = written(one(schema_url="s/1"))
    for spelled in (snake(usual), renamed(json.loads(json.dumps(usual)), LIBRARY[0])):
        (back,) = given_back(json.dumps(spelled).encode(), form="otlp-json")
        assert said(back) == said(usual)
    library = renamed(json.loads(json.dumps(usual)), LIBRARY[0])
    for group in library["resourceSpans"]:
        for scope in group[LIBRARY[0]]:
            if "scope" in scope:
                scope["instrumentationLibrary"] = scope.pop("scope")
    (back,) = given_back(json.dumps(library).encode(), form="otlp-json")
    assert said(back) == said(usual)


def test_a_schema_url_in_the_other_spelling_is_read_wherever_it_is() -> None:
    usual = written(one(schema_url="s/1", scope_spans__0__schema_url="s/2"))
    spelled = json.dumps(usual).replace("schemaUrl", "schema_url")
    (back,) = given_back(spelled.encode(), form="otlp-json")
    assert said(back) == said(usual)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a NUL in an array of a key that comes again", "nul_character"),
        ("a NUL that a list of keys and values hides", "nul_character"),
        ("a NUL in a key without value", "bad_attributes"),
        ("a service that is NUL and another", "nul_character"),
    ],
)
def test_nul_in_an_attribute_that_another_one_hides_is_found(name: str, reason: str) -> None:
    assert reasons(decode(raw(NASTY_DETAILS[name], "otlp-protobuf"))) == [reason]


def deep(levels: int) -> dict[str, Any]:
    made: dict[str, Any] = {"stringValue": "x"}
    for _ in range(levels):
        made = {"arrayValue": {"values": [made]}}
    return made


@pytest.mark.parametrize(
    ("hidden", "reasons_of"),
    [
        ({"stringValue": "\0"}, ["nul_character"]),
        ({"stringValue": "x" * 16 * 1024}, ["bad_attributes"]),
        (deep(101), ["bad_attributes"]),
        ({"stringValue": "x"}, []),
    ],
)
@pytest.mark.parametrize("of", ["span", "resource"])
def test_what_a_list_of_keys_and_values_hides_is_kept_or_refused(
    of: str, hidden: dict[str, Any], reasons_of: list[str]
) -> None:
    pairs = [{"key": "a", "value": hidden}, {"key": "a", "value": {"stringValue": "b"}}]
    export = document(1)
    group = export["resourceSpans"][0]
    holder = group["scopeSpans"][0]["spans"][0] if of == "span" else group["resource"]
    holder["attributes"].append({"key": "k", "value": {"kvlistValue": {"values": pairs}}})
    decoded = sent(export)
    assert reasons(decoded) == reasons_of
    if not reasons_of:
        assert dict(decoded.events["attributes"][0].as_py())["k"] == '{"a":"b"}'
    kept = otlp_export(decoded.good.whole())
    assert json.dumps(kept).count('"kvlistValue"') == len(decoded.good)


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        ({"intValue": 200}, {"intValue": "200"}),
        ({"int_value": "2e2"}, {"intValue": "200"}),
        ({"doubleValue": "5"}, {"doubleValue": 5.0}),
        ({"bytesValue": "-_8"}, {"bytesValue": "+/8="}),
        ({"bytesValue": "no base64!"}, {"bytesValue": "no base64!"}),
        ({"arrayValue": {"values": []}}, {"arrayValue": {}}),
        ({}, {}),
    ],
)
def test_a_value_in_json_is_given_back_in_its_usual_spelling(given: Any, becomes: Any) -> None:
    export = document(1)
    place = ("resourceSpans", 0, "scopeSpans", 0, "spans", 0)
    put(export, (*place, "attributes"), [{"key": "k", "value": given}])
    put(export, (*place, "events"), [{"attributes": [{"key": "k", "value": given}], "time_unix_nano": 5}])
    (back,) = given_back(json.dumps(export).encode(), form="otlp-json")
    span = back["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert span["attributes"] == [{"key": "k", "value": becomes}]
    assert span["events"] == [{"attributes": [{"key": "k", "value": becomes}], "timeUnixNano": "5"}]


@FORMS
def test_a_scope_is_not_written_for_each_of_its_spans_before_the_window_is_bounded(form: str) -> None:
    made = otlp(table(1))
    scope = made.resource_spans[0].scope_spans[0]
    scope.scope.name = "n" * 60_000
    for number in range(1, 200):
        scope.spans.add().CopyFrom(scope.spans[0])
        scope.spans[-1].span_id = number.to_bytes(8)
    given_in = body(made, form)
    assert decode(raw(given_in, form)).counts == [200]
    assert decode(raw(given_in, form), window_bytes=5 * 2**20).unfit[0].reason == "too_large"
    with pytest.raises(WindowTooLarge):
        decode(*[raw(given_in, form)] * 3, window_bytes=30 * 2**20)


@FORMS
def test_spans_that_tell_of_an_exception_are_known_without_being_made(form: str) -> None:
    decoded = decode(*[raw(body(one(), form), form)] * 2)
    marks = decoded.good.attributes.exceptional()
    assert marks is not None
    assert np.flatnonzero(marks).tolist() == [1, 4]

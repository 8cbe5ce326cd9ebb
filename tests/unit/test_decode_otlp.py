"""OTLP traces: what becomes of resources, spans, attributes, status and kind, in protobuf and in JSON."""

import base64
import json
from typing import Any

import pytest
from google.protobuf.message import Message
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tasks.decoders import DecodedBatches
from tests.unit import decode_samples as samples
from tests.unit.decode_samples import START_US, attribute, decode, raw, reasons

BOTH = pytest.mark.parametrize("form", ["otlp-protobuf", "otlp-json"])


def request(spans: int = 1) -> ExportTraceServiceRequest:
    return samples.otlp(samples.table(spans))


def sent(made: ExportTraceServiceRequest, form: str) -> DecodedBatches:
    body = made.SerializeToString() if form == "otlp-protobuf" else samples.otlp_json(made)
    return decode(raw(body, form))


def first_span(made: ExportTraceServiceRequest) -> Any:
    return made.resource_spans[0].scope_spans[0].spans[0]


def attributes(decoded: DecodedBatches) -> dict[str, str]:
    assert decoded.unfit == {}
    pairs = decoded.events["attributes"][0].as_py()
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


@BOTH
def test_a_span_has_its_resources_attributes_and_its_own_win(form: str) -> None:
    made = request()
    attribute(made.resource_spans[0].resource, "region", "eu")
    attribute(made.resource_spans[0].resource, "host.name", "resource's")
    read = attributes(sent(made, form))
    assert (read["region"], read["host.name"]) == ("eu", "pod-0")
    assert "service.name" not in read


@BOTH
def test_of_a_key_that_is_sent_twice_the_last_value_counts(form: str) -> None:
    made = request()
    attribute(first_span(made), "twice", "1")
    attribute(first_span(made), "twice", "2")
    assert attributes(sent(made, form))["twice"] == "2"


@BOTH
def test_each_resource_lends_its_attributes_to_its_own_spans_only(form: str) -> None:
    made = request(25)
    for number, group in enumerate(made.resource_spans):
        for extra in range(number):
            attribute(group.resource, f"extra.{extra}", str(number))
    made.resource_spans.add()
    decoded = sent(made, form)
    for event in decoded.events.to_pylist():
        number = int(event["service"].removeprefix("service-"))
        extras = {key: value for key, value in event["attributes"] if key.startswith("extra")}
        assert extras == {f"extra.{extra}": str(number) for extra in range(number)}


@BOTH
def test_values_that_are_not_text_become_text(form: str) -> None:
    made = request()
    span = first_span(made)
    del span.attributes[:]
    for key, name, value in (
        ("int", "int_value", -5),
        ("double", "double_value", 1.5),
        ("bool", "bool_value", False),
        ("bytes", "bytes_value", b"\0\1"),
        ("text", "string_value", "x" * 300),
    ):
        pair = span.attributes.add(key=key)
        setattr(pair.value, name, value)
    pair = span.attributes.add(key="list")
    pair.value.array_value.values.add().int_value = 1
    pair.value.array_value.values.add().string_value = "a"
    pair = span.attributes.add(key="object")
    pair.value.kvlist_value.values.add(key="k").value.bool_value = True
    span.attributes.add(key="nothing")
    assert attributes(sent(made, form)) == {
        "int": "-5",
        "double": "1.5",
        "bool": "false",
        "bytes": base64.b64encode(b"\0\1").decode(),
        "text": "x" * 300,
        "list": '[1,"a"]',
        "object": '{"k":true}',
    }


@BOTH
@pytest.mark.parametrize(
    ("keys", "user"), [(["enduser.id"], "0"), (["enduser.id", "user.id"], "1"), ([], None)]
)
def test_the_user_comes_from_the_spans_attributes(form: str, keys: list[str], user: str | None) -> None:
    made = request()
    for number, key in enumerate(keys):
        attribute(first_span(made), key, str(number))
    assert sent(made, form).events["user_id"].to_pylist() == [user]


@BOTH
def test_a_resource_without_a_name_is_an_unknown_service(form: str) -> None:
    made = request()
    del made.resource_spans[0].resource.attributes[:]
    assert sent(made, form).events["service"].to_pylist() == ["unknown_service"]


@BOTH
def test_kind_and_status_are_words(form: str) -> None:
    made = request(6 * 10)
    spans = made.resource_spans[0].scope_spans[0].spans
    for number, span in enumerate(spans):
        span.kind = number  # type: ignore[assignment]
        span.status.code = number % 3  # type: ignore[assignment]
        span.status.message = "why" if number == 2 else ""
    events = [event for event in sent(made, form).events.to_pylist() if event["service"] == "service-0"]
    assert [event["kind"] for event in events] == [
        None,
        "internal",
        "server",
        "client",
        "producer",
        "consumer",
    ]
    assert [event["status"] for event in events] == ["ok", "ok", "error"] * 2
    assert [event["status_message"] for event in events] == [None, None, "why", None, None, None]


@BOTH
def test_times_are_cut_to_microseconds_and_an_end_before_the_start_is_rejected(form: str) -> None:
    made = request(30)
    spans = made.resource_spans[0].scope_spans[0].spans
    spans[0].start_time_unix_nano, spans[0].end_time_unix_nano = (
        START_US * 1_000 + 999,
        START_US * 1_000 + 2_998,
    )
    spans[1].end_time_unix_nano = spans[1].start_time_unix_nano - 1
    spans[2].start_time_unix_nano = spans[2].end_time_unix_nano = 2**64 - 1
    decoded = sent(made, form)
    assert reasons(decoded) == ["bad_duration", "bad_time"]
    assert [reject.row for reject in decoded.rejects] == [1, 2]
    assert 1 in decoded.events["duration_us"].to_pylist()


@BOTH
def test_wrong_ids_reject_their_span_only(form: str) -> None:
    made = request(30)
    spans = made.resource_spans[0].scope_spans[0].spans
    spans[0].trace_id, spans[1].span_id, spans[2].parent_span_id = b"short", b"", b"123456789"
    decoded = sent(made, form)
    assert (decoded.counts, reasons(decoded)) == ([27], ["bad_trace_id", "bad_event_id", "bad_parent_id"])


def test_text_that_is_not_utf_8_rejects_its_span_only() -> None:
    made = request(30)
    for number, span in enumerate(made.resource_spans[0].scope_spans[0].spans):
        span.name, span.status.message = f"name@{number}", f"message@{number}"
        attribute(span, "key", f"value@{number}")
    body = made.SerializeToString()
    for text in (b"name@0", b"message@1", b"value@2"):
        body = body.replace(text, text.replace(b"@", b"\xff"))
    decoded = decode(raw(body, "otlp-protobuf"))
    assert (decoded.counts, reasons(decoded)) == ([27], ["bad_utf8", "bad_utf8", "bad_attributes"])


def test_a_span_in_json_of_the_wrong_shape_is_rejected_alone() -> None:
    document = json.loads(samples.otlp_json(request(30)))
    spans = document["resourceSpans"][1]["scopeSpans"][0]["spans"]
    spans[1] = {"name": 5}
    decoded = decode(raw(json.dumps(document).encode(), "otlp-json"))
    assert (decoded.counts, reasons(decoded)) == ([29], ["bad_field"])
    assert decoded.rejects[0].row == 4
    assert b'"spans":[{"name": 5}]' in decoded.rejects[0].data


def test_json_takes_numbers_for_times_and_names_for_enums() -> None:
    document = json.loads(samples.otlp_json(request()))
    span = document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    span |= {"startTimeUnixNano": START_US * 1_000, "endTimeUnixNano": str(START_US * 1_000 + 5_000)}
    span |= {"kind": "SPAN_KIND_PRODUCER", "status": {"code": "STATUS_CODE_ERROR"}, "parentSpanId": None}
    event = decode(raw(json.dumps(document).encode(), "otlp-json")).events.to_pylist()[0]
    assert (event["duration_us"], event["kind"], event["status"]) == (5, "producer", "error")


@pytest.mark.parametrize("time", ["-1", "soon", "9" * 5_000, "18446744073709551616"])
def test_a_time_in_json_that_is_none_rejects_its_span_only(time: str) -> None:
    document = json.loads(samples.otlp_json(request(20)))
    document["resourceSpans"][0]["scopeSpans"][0]["spans"][0]["startTimeUnixNano"] = time
    decoded = decode(raw(json.dumps(document).encode(), "otlp-json"))
    assert (decoded.counts, reasons(decoded)) == ([19], ["bad_time"])


@pytest.mark.parametrize(
    "body", [b"[]", b"3", b"{", b'{"resourceSpans":3}', b'{"a":' + b"[" * 100_000, b"\xff"]
)
def test_json_that_is_no_trace_export_is_malformed(body: bytes) -> None:
    assert decode(raw(body, "otlp-json")).unfit[0].reason == "malformed"


def test_protobuf_that_is_no_trace_export_is_malformed() -> None:
    assert decode(raw(request().SerializeToString()[:-1], "otlp-protobuf")).unfit[0].reason == "malformed"


@BOTH
def test_an_export_of_nothing_is_no_event_and_no_reject(form: str) -> None:
    decoded = sent(ExportTraceServiceRequest(), form)
    assert (decoded.counts, decoded.unfit) == ([0], {})


def test_deep_values_reject_their_span_only() -> None:
    made = request(20)
    value: Message = first_span(made).attributes.add(key="deep").value
    for _ in range(90):
        value = value.array_value.values.add()  # type: ignore[attr-defined]
    decoded = decode(raw(made.SerializeToString(), "otlp-protobuf"))
    assert decoded.counts[0] >= 19


@BOTH
def test_a_resource_that_would_blow_up_its_spans_is_too_large(form: str) -> None:
    made = request(200)
    for group in made.resource_spans:
        attribute(group.resource, "big", "x" * 16_000)
    body = made.SerializeToString() if form == "otlp-protobuf" else samples.otlp_json(made)
    assert decode(raw(body, form), window_bytes=2_000_000).unfit[0].reason == "too_large"

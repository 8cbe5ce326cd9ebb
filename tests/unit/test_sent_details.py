"""What agents say of details in JSON and Arrow: kept in one form, and what is wrong costs its event alone."""

import json
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pytest

from tasks.decoders import DecodedBatches
from tasks.events import WHOLE, AnyValue, KeyValue, SpanDetails, detail_columns, otlp_export
from tasks.events.details import SpanEvent, SpanLink, SpanResource, SpanRest, SpanScope
from tests.unit import decode_samples as samples
from tests.unit.decode_samples import decode, ndjson, one, raw, reasons

SENT: Final[dict[str, Any]] = {
    "trace_state": "a=1",
    "flags": 257,
    "resource": {"attributes": {"host.name": "h-1"}, "schemaUrl": "r/1"},
    "scope": {"name": "lib", "version": "1.2", "attributes": [], "droppedAttributesCount": 2},
    "span": {
        "startTimeUnixNano": "1700000000000000001",
        "endTimeUnixNano": 1_700_000_000_000_000_999,
        "attributes": {"n": 200},
        "statusCode": 1,
        "droppedAttributesCount": 1,
        "droppedEventsCount": "3",
        "droppedLinksCount": 5,
    },
    "span_events": [
        {
            "timeUnixNano": 1_700_000_000_000_000_123,
            "name": "exception",
            "attributes": {"exception.type": "KeyError", "depth": 3, "part": 0.5, "seen": True},
        }
    ],
    "links": [
        {
            "traceId": "4BF92F3577B34DA6A3CE929D0E0E4736",
            "spanId": "00f067aa0ba902b7",
            "attributes": [
                {"key": "raw", "value": {"bytesValue": "_-8"}},
                {"key": "n", "value": {"intValue": 5}},
                {"key": "x", "value": {"doubleValue": "-Infinity"}},
            ],
            "flags": 1,
        }
    ],
}
KEPT: Final = SpanDetails(
    trace_state="a=1",
    flags=257,
    resource=SpanResource(
        [
            KeyValue("service.name", AnyValue(string_value="service-0")),
            KeyValue("host.name", AnyValue(string_value="h-1")),
        ],
        schema_url="r/1",
    ),
    scope=SpanScope("lib", "1.2", [], 2),
    span=SpanRest(
        "1700000000000000001",
        "1700000000000000999",
        [KeyValue("n", AnyValue(int_value="200"))],
        status_code=1,
        dropped_attributes_count=1,
        dropped_events_count=3,
        dropped_links_count=5,
    ),
    events=[
        SpanEvent(
            "1700000000000000123",
            "exception",
            [
                KeyValue("exception.type", AnyValue(string_value="KeyError")),
                KeyValue("depth", AnyValue(int_value="3")),
                KeyValue("part", AnyValue(double_value=0.5)),
                KeyValue("seen", AnyValue(bool_value=True)),
            ],
        )
    ],
    links=[
        SpanLink(
            "4bf92f3577b34da6a3ce929d0e0e4736",
            "00f067aa0ba902b7",
            "",
            [
                KeyValue("raw", AnyValue(bytes_value="/+8=")),
                KeyValue("n", AnyValue(int_value="5")),
                KeyValue("x", AnyValue(double_value="-Infinity")),
            ],
            flags=1,
        )
    ],
)
TEXT_TYPES: Final = (pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string()))


def details(decoded: DecodedBatches) -> list[SpanDetails | None]:
    return list(decoded.good.attributes.details(np.arange(len(decoded.good))))


def arrow(kind: pa.DataType, *rows: dict[str, Any]) -> bytes:
    """An Arrow stream of samples with these columns, of which a row may lack some."""
    events = samples.table(len(rows))
    for name in SENT:
        said = [row.get(name) for row in rows]
        if name == "flags":
            events = events.append_column(name, pa.array(said, pa.uint64()))
            continue
        texts = [json.dumps(each) if isinstance(each, dict | list) else each for each in said]
        events = events.append_column(name, pa.array(texts, pa.string()).cast(kind))
    return samples.ipc(events)


@pytest.mark.parametrize("form", ["ndjson", "json"])
def test_json_says_them_as_fields(form: str) -> None:
    sent = [one(), one(**SENT), one(scope=None, links=None, span_events=[])]
    body = ndjson(*sent) if form == "ndjson" else json.dumps(sent).encode()
    decoded = decode(raw(body, form), raw(body, form))
    assert decoded.rejects == []
    assert details(decoded) == [None, KEPT, SpanDetails()] * 2
    assert decoded.good.attributes.exceptional().tolist() == [False, True, False] * 2  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", TEXT_TYPES, ids=str)
def test_arrow_says_them_as_columns(kind: pa.DataType) -> None:
    body = arrow(kind, SENT, {}, {"trace_state": "b=2"})
    decoded = decode(raw(body, "arrow"), raw(body, "arrow"))
    assert decoded.rejects == []
    assert details(decoded) == [KEPT, None, SpanDetails(trace_state="b=2")] * 2


def test_what_a_span_without_times_says_is_added_to_what_its_columns_say() -> None:
    said = {"droppedLinksCount": 2, "statusCode": 1}
    sent = one(attributes={"word": "w", "number": 7}, span=said)
    decoded = decode(raw(ndjson(sent)))
    (span,) = otlp_export(decoded.good.whole())["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert span["droppedLinksCount"] == 2
    assert span["status"] == {"code": 1}
    assert span["startTimeUnixNano"].endswith("000")
    assert span["attributes"] == [
        {"key": "word", "value": {"stringValue": "w"}},
        {"key": "number", "value": {"intValue": "7"}},
    ]


def test_a_resource_names_its_own_service_if_it_does() -> None:
    resource = {"attributes": {"service.name": "other"}}
    (found,) = details(decode(raw(ndjson(one(resource=resource)))))
    assert found is not None
    assert found.resource == SpanResource([KeyValue("service.name", AnyValue(string_value="other"))])


def test_values_that_are_no_text_keep_their_types() -> None:
    values = {
        "word": "w",
        "number": 200,
        "largest": 2**63 - 1,
        "beyond": 2**63,
        "double": 0.1,
        "truth": False,
        "list": [1, "a", None, 2.5],
        "map": {"inner": {}},
        "none": None,
        "": [],
        "nul": ["\0"],
    }
    decoded = decode(raw(ndjson(one(), one(attributes=values))))
    nothing, found = details(decoded)
    assert nothing is None
    assert found is not None
    assert found.span is not None
    kept = {pair.key: pair.value for pair in found.span.attributes}
    assert kept.keys() == {"number", "largest", "beyond", "double", "truth", "list", "map", None}
    table = pa.table([*decoded.events.columns, *detail_columns([nothing, found]).columns], schema=WHOLE)
    spans = otlp_export(table.slice(1))["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert {pair["key"]: pair["value"] for pair in spans[0]["attributes"]} == {
        "word": {"stringValue": "w"},
        "number": {"intValue": "200"},
        "largest": {"intValue": str(2**63 - 1)},
        "beyond": {"stringValue": str(2**63)},
        "double": {"doubleValue": 0.1},
        "truth": {"boolValue": False},
        "list": {
            "arrayValue": {"values": [{"intValue": "1"}, {"stringValue": "a"}, {}, {"doubleValue": 2.5}]}
        },
        "map": {"kvlistValue": {"values": [{"key": "inner", "value": {"kvlistValue": {}}}]}},
        "": {"arrayValue": {}},
        "nul": {"stringValue": '["\\u0000"]'},
    }


def nested(levels: int) -> Any:
    made: Any = 1
    for _ in range(levels):
        made = [made]
    return made


MOST: Final = 256 * 1024
WRONG: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "events that are no list": ({"span_events": {}}, "bad_details"),
    "an event that is no object": ({"span_events": [1]}, "bad_details"),
    "a name that is no text": ({"span_events": [{"name": 1}]}, "bad_details"),
    "a time that is no number": ({"span_events": [{"timeUnixNano": "soon"}]}, "bad_details"),
    "a time before 1970": ({"span_events": [{"timeUnixNano": -1}]}, "bad_details"),
    "a link without ids": ({"links": [{}]}, "bad_details"),
    "an id of other letters": ({"links": [{"traceId": "g" * 32, "spanId": "0" * 16}]}, "bad_details"),
    "a scope that is a list": ({"scope": []}, "bad_details"),
    "a resource that is a word": ({"resource": "h-1"}, "bad_details"),
    "a status that OTLP does not have": ({"span": {"statusCode": 3}}, "bad_details"),
    "a count below zero": ({"span": {"droppedLinksCount": -1}}, "bad_details"),
    "flags beyond 32 bits": ({"flags": 2**32}, "bad_details"),
    "too many events": ({"span_events": [{}] * 1_025}, "bad_details"),
    "too many bytes": ({"scope": {"name": "n" * MOST}}, "bad_details"),
    "too deep": ({"scope": {"attributes": {"a": nested(101)}}}, "bad_details"),
    "NUL": ({"scope": {"name": "a\0"}}, "nul_character"),
    "NUL in the trace state": ({"trace_state": "a\0"}, "nul_character"),
}
RIGHT: Final[dict[str, dict[str, Any]]] = {
    "many events": {"span_events": [{}] * 1_024},
    "many bytes": {"scope": {"name": "n" * (MOST - 100)}},
    "deep": {"scope": {"attributes": {"a": nested(97)}}},
    "what is written like NUL": {"scope": {"name": "\\u0000"}},
    "no flags": {"flags": 0},
}


@pytest.mark.parametrize(("sent", "reason"), WRONG.values(), ids=WRONG.keys())
def test_what_is_wrong_costs_its_event_alone(sent: dict[str, Any], reason: str) -> None:
    lines, stream = ndjson(one(), one(**sent), one()), arrow(pa.string(), {}, sent)
    for body, form in ((lines, "ndjson"), (stream, "arrow")):
        for batches in (1, 2):  # alone, and together with another
            decoded = decode(*[raw(body, form)] * batches)
            assert reasons(decoded) == [reason] * batches
            assert {reject.row for reject in decoded.rejects} == {1}


def test_details_stay_with_their_events_when_others_are_left_out() -> None:
    wrong: dict[str, Any] = {"links": [{}]}
    for form, written in (("ndjson", ndjson), ("arrow", lambda *rows: arrow(pa.string(), *rows))):
        base = one() if form == "ndjson" else {}
        spoilt, whole = written(base, base | wrong, base | SENT), written(base, base | SENT, base)
        decoded = decode(raw(spoilt, form), raw(whole, form), raw(whole, form))
        found = [each is not None and each.flags for each in details(decoded)]
        assert found == [False, 257, False, 257, False, False, 257, False]


@pytest.mark.parametrize("sent", RIGHT.values(), ids=RIGHT.keys())
def test_what_is_within_its_bounds_is_taken(sent: dict[str, Any]) -> None:
    assert decode(raw(ndjson(one(**sent)))).rejects == []
    assert decode(raw(arrow(pa.string(), sent), "arrow")).rejects == []


def test_a_column_of_another_type_is_none_of_the_schemas() -> None:
    for name, values in (("flags", ["1"]), ("links", [7])):
        body = samples.ipc(samples.table(1).append_column(name, pa.array(values)))
        assert [str(one.reason) for one in decode(raw(body, "arrow")).unfit.values()] == ["bad_schema"]

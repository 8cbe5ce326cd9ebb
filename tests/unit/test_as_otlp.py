"""Events are given back as OTLP: all that they said if they came by it, else what their columns say."""

from typing import Any

import pyarrow as pa

from tasks.events import WHOLE, detail_columns, otlp_export
from tasks.events.details import SpanDetails, SpanResource, SpanRest, SpanScope
from tests.unit.decode_samples import table, with_column
from tests.unit.test_details import SHOP, WHOLE_SPAN


def whole(*details: SpanDetails | None) -> pa.Table:
    return pa.table([*table(len(details)).columns, *detail_columns(details).columns], schema=WHOLE)


def spans(export: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        span for group in export["resourceSpans"] for scope in group["scopeSpans"] for span in scope["spans"]
    ]


def test_what_came_by_otlp_is_said_field_by_field() -> None:
    event = table(1).to_pylist()[0]
    assert otlp_export(whole(WHOLE_SPAN)) == {
        "resourceSpans": [
            {
                "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
                "schemaUrl": "r/1",
                "scopeSpans": [
                    {
                        "scope": {
                            "name": "lib",
                            "version": "1.2",
                            "attributes": [{"key": "api.key", "value": {"stringValue": "k1"}}],
                            "droppedAttributesCount": 2,
                        },
                        "schemaUrl": "s/1",
                        "spans": [
                            {
                                "traceId": event["trace_id"].hex(),
                                "spanId": event["event_id"].hex(),
                                "traceState": "a=1",
                                "flags": 257,
                                "name": "GET /things/0",
                                "kind": 2,
                                "status": {"code": 1},
                                "startTimeUnixNano": "1700000000000000123",
                                "endTimeUnixNano": "1700000000000000999",
                                "attributes": [
                                    {"key": "n", "value": {"intValue": "200"}},
                                    {"key": "raw", "value": {"bytesValue": "AAE="}},
                                    {
                                        "key": "map",
                                        "value": {
                                            "kvlistValue": {
                                                "values": [
                                                    {"key": "password", "value": {"stringValue": "p1"}},
                                                    {"key": "n", "value": {}},
                                                ]
                                            }
                                        },
                                    },
                                ],
                                "droppedLinksCount": 4,
                                "events": [
                                    {
                                        "timeUnixNano": "1700000000000000500",
                                        "name": "exception",
                                        "attributes": [
                                            {
                                                "key": "exception.message",
                                                "value": {"stringValue": "Bearer abcdefgh0123"},
                                            }
                                        ],
                                    }
                                ],
                                "links": [
                                    {
                                        "traceId": "00" * 16,
                                        "spanId": "11" * 8,
                                        "traceState": "b=2",
                                        "attributes": [
                                            {
                                                "key": "all",
                                                "value": {
                                                    "arrayValue": {
                                                        "values": [{"stringValue": "Bearer abcdefgh0123"}]
                                                    }
                                                },
                                            }
                                        ],
                                    }
                                ],
                            }
                        ],
                    }
                ],
            }
        ]
    }


def test_spans_are_grouped_by_resource_and_scope_wherever_they_lie() -> None:
    one = SpanDetails(resource=SHOP, scope=SpanScope("one"), span=SpanRest())
    two = SpanDetails(resource=SHOP, scope=SpanScope("two"), span=SpanRest())
    bare = SpanDetails(resource=SpanResource(), scope=SpanScope(), span=SpanRest(nameless=True))
    groups = otlp_export(whole(one, bare, two, one))["resourceSpans"]
    assert [[len(scope["spans"]) for scope in group["scopeSpans"]] for group in groups] == [[2, 1], [1]]
    assert groups[1].keys() == {"scopeSpans"}
    assert "name" not in groups[1]["scopeSpans"][0]["spans"][0]


def test_an_event_that_came_by_no_otlp_is_a_span_of_its_columns() -> None:
    given = whole(None, None)
    given = with_column(given, "user_id", pa.array(["u-1", None], pa.string()))
    event = given.to_pylist()[0]
    export = otlp_export(given)
    group = export["resourceSpans"][0]
    assert group["resource"] == {
        "attributes": [{"key": "service.name", "value": {"stringValue": event["service"]}}]
    }
    span = spans(export)[0]
    start_us = round(event["started_at"].timestamp() * 1_000_000)
    assert span["startTimeUnixNano"] == f"{start_us}000"
    assert int(span["endTimeUnixNano"]) == (start_us + event["duration_us"]) * 1_000
    pairs = [(pair["key"], pair["value"]["stringValue"]) for pair in span["attributes"]]
    assert pairs == [*event["attributes"], ("user.id", "u-1")]
    assert "user.id" not in [pair["key"] for pair in spans(export)[1]["attributes"]]

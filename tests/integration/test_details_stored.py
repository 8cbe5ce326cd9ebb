"""What spans say besides their fields: from the raw stream to the rows of `events`, and given back."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pyarrow as pa
import pytest
from sqlalchemy import Engine, select

import db.engine
import tasks.stages.decode
import tasks.stages.deposit
import tasks.stages.process
import webapp.kept_trace
from db import tables
from db.customers import pipeline_versions
from db.customers.rows import Customer
from deploy.local.rabbitmq import RabbitNode
from streams import Broker, StreamSettings, encode_result, processed, raw
from tasks.celery import app
from tasks.events import DETAILS, EVENTS, MOST_BYTES
from tasks.handover import DecodedWindow, pack
from tasks.settings import TaskSettings
from tasks.stages.context import Context
from tasks.stages.deliveries import Delivery
from tests.envelopes import envelope
from tests.integration.ledger_rows import NOW_US, add_customer, claim, new_window, record
from tests.integration.test_whole import event, ndjson
from tests.unit.test_sent_details import SENT
from webapp.kept_trace import KeptTrace, find

TRACE = "0c" * 16
START_NS = NOW_US * 1_000 + 123
VALUES: dict[str, Any] = {
    "text": {"stringValue": "a\tb"},
    "whole": {"intValue": str(-(2**63))},
    "double": {"doubleValue": 1e300},
    "zero": {"doubleValue": -0.0},
    "none": {"doubleValue": "NaN"},
    "truth": {"boolValue": False},
    "bytes": {"bytesValue": "/+8="},
    "list": {"arrayValue": {"values": [{"intValue": "1"}, {"stringValue": ""}]}},
    "map": {"kvlistValue": {"values": [{"key": "k", "value": {"boolValue": True}}]}},
}
ATTRIBUTES = [{"key": key, "value": value} for key, value in VALUES.items()]
SPAN = {
    "traceId": TRACE,
    "spanId": "0d" * 8,
    "parentSpanId": "0e" * 8,
    "traceState": "a=1,b=2",
    "flags": 257,
    "name": "GET /cart",
    "kind": 2,
    "startTimeUnixNano": str(START_NS),
    "endTimeUnixNano": str(START_NS + 4_567),
    "attributes": ATTRIBUTES,
    "droppedAttributesCount": 1,
    "droppedEventsCount": 2,
    "droppedLinksCount": 3,
    "status": {"message": "it broke", "code": 2},
    "events": [
        {
            "timeUnixNano": str(START_NS),
            "name": "exception",
            "attributes": ATTRIBUTES,
            "droppedAttributesCount": 4,
        },
        {"timeUnixNano": "1", "name": "other"},
    ],
    "links": [
        {
            "traceId": "0f" * 16,
            "spanId": "0f" * 8,
            "traceState": "c=3",
            "attributes": ATTRIBUTES,
            "droppedAttributesCount": 5,
            "flags": 1,
        }
    ],
}
BARE_SPAN = {
    "traceId": TRACE,
    "spanId": "1d" * 8,
    "startTimeUnixNano": str(START_NS + 1_000),
    "endTimeUnixNano": str(START_NS + 1_000),
}
SCOPE = {"name": "lib", "version": "1.2", "attributes": ATTRIBUTES, "droppedAttributesCount": 6}
SHOP = {
    "attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}, *ATTRIBUTES],
    "droppedAttributesCount": 7,
}
EXPORT = {
    "resourceSpans": [
        {
            "resource": SHOP,
            "scopeSpans": [{"scope": SCOPE, "spans": [SPAN], "schemaUrl": "s/1"}],
            "schemaUrl": "r/1",
        },
        {"scopeSpans": [{"spans": [BARE_SPAN]}]},
    ]
}
KEEP_ALL = '{"steps": [{"step": "keep", "percent": 100}]}'
FIRST = Delivery("first")
SMALL = {"max_bytes": 50_000_000, "max_age_s": 3600, "segment_bytes": 5_000_000}
Publish = Callable[[DecodedWindow], bool]


@pytest.fixture
def context(engine: Engine, rabbitmq: RabbitNode) -> Iterator[Context]:
    broker = Broker(StreamSettings(url=rabbitmq.stream_url, broker_url=rabbitmq.amqp_url))
    yield Context(engine=engine, broker=broker, settings=TaskSettings(), app=app)
    broker.close()


def posted(
    context: Context, slug: str, *bodies: bytes, form: str = "ndjson", pipeline: str = KEEP_ALL
) -> tuple[Customer, list[int]]:
    """A customer with that pipeline, and a window for each of the batches."""
    customer = add_customer(context.engine, slug)
    with db.engine.begin(context.engine) as connection:
        version = pipeline_versions.put(connection, customer.id, pipeline)
    for stream in (raw(slug), processed(slug)):
        context.broker.declare(stream, **SMALL)
    messages = [
        envelope(slug, f"batch-{number}", body, accepted_at_us=NOW_US, form=form)
        for number, body in enumerate(bodies)
    ]
    context.broker.publish_all(raw(slug), messages, deadline_s=20)
    epoch = claim(context.engine, customer)
    cut = [new_window(number, number, pipeline_version=version) for number in range(len(bodies))]
    return customer, [
        record(context.engine, customer, epoch, one.first_offset, one.last_offset, window=one) for one in cut
    ]


def results_with(context: Context, change: Callable[[pa.Table], pa.Table]) -> Publish:
    """As `tasks.stages.process.publish`, with another release's columns of events."""

    def publish(handed: DecodedWindow) -> bool:
        (left,) = tasks.stages.process.results([handed], MOST_BYTES)
        packed = pack(left.header, {**left.tables, "events": change(left.tables["events"])})
        message = encode_result(left.header.window_id, left.header.customer, packed)
        context.broker.publish(processed(left.header.customer), message, deadline_s=20)
        return True

    return publish


def stored(context: Context, customer: Customer) -> list[dict[str, Any]]:
    """The customer's events, the first one first."""
    mine = select(*tables.events.c).where(tables.events.c.customer_id == customer.id)
    with db.engine.read(context.engine) as connection:
        rows = connection.execute(mine.order_by(tables.events.c.window_id, tables.events.c.position))
        return [dict(row) for row in rows.mappings()]


def test_one_deposit_takes_results_of_releases_with_fewer_and_with_more_columns(
    context: Context, slug: str
) -> None:
    traces = [f"{number:032x}" for number in range(1, 4)]
    bodies = [ndjson(event(trace, started_at=NOW_US)) for trace in traces]
    customer, windows = posted(context, slug, *bodies)
    ours = partial(tasks.stages.process.publish, context)
    earlier = results_with(context, lambda events: events.select(EVENTS.names))
    later = results_with(context, lambda events: events.append_column("later", pa.nulls(len(events))))
    ways: tuple[Publish, ...] = (ours, earlier, later)
    for window_id, publish in zip(windows, ways, strict=True):
        assert tasks.stages.decode.run(context, window_id, publish, FIRST)

    tasks.stages.deposit.run(context, customer.id, windows[-1], FIRST)

    rows = stored(context, customer)
    assert [row["window_id"] for row in rows] == windows
    assert all(row[name] is None for row in rows for name in DETAILS.names)


def deposited(context: Context, slug: str, body: bytes, form: str) -> Customer:
    """A customer whose one batch is in the tables."""
    customer, (window_id,) = posted(context, slug, body, form=form)
    publish = partial(tasks.stages.process.publish, context)
    assert tasks.stages.decode.run(context, window_id, publish, FIRST)
    tasks.stages.deposit.run(context, customer.id, window_id, FIRST)
    return customer


def given_back(context: Context, customer: Customer, trace_id: str) -> KeptTrace:
    with db.engine.read(context.engine) as connection:
        found = find(connection, customer.id, bytes.fromhex(trace_id))
    assert found is not None
    return found


def test_an_event_in_json_is_given_back_as_a_span_with_its_details(
    context: Context, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = "0a" * 16
    first = event(trace, started_at=NOW_US, attributes={"cart": "c-1", "items": 3}) | SENT | {"span": None}
    second = event(trace, started_at=NOW_US + 1)
    customer = deposited(context, slug, ndjson(second, first), "ndjson")

    found = given_back(context, customer, trace)

    assert (found.events, found.more) == (2, False)
    (group, other) = found.export["resourceSpans"]
    assert [pair["key"] for pair in group["resource"]["attributes"]] == ["service.name", "host.name"]
    assert group["schemaUrl"] == "r/1"
    (scope,) = group["scopeSpans"]
    assert scope["scope"] == {"name": "lib", "version": "1.2", "droppedAttributesCount": 2}
    (span,) = scope["spans"]
    assert (span["traceState"], span["flags"]) == ("a=1", 257)
    assert span["attributes"] == [
        {"key": "cart", "value": {"stringValue": "c-1"}},
        {"key": "items", "value": {"intValue": "3"}},
    ]
    assert span["events"][0]["attributes"][2:] == [
        {"key": "part", "value": {"doubleValue": 0.5}},
        {"key": "seen", "value": {"boolValue": True}},
    ]
    assert span["links"][0]["spanId"] == "00f067aa0ba902b7"
    assert len(other["scopeSpans"][0]["spans"]) == 1
    with db.engine.read(context.engine) as connection:
        assert find(connection, customer.id, bytes(16)) is None
    monkeypatch.setattr(webapp.kept_trace, "MOST_EVENTS", 1)
    cut = given_back(context, customer, trace)
    assert (cut.events, cut.more, cut.export) == (1, True, {"resourceSpans": [group]})


def test_spans_that_came_by_otlp_are_given_back_field_by_field(context: Context, slug: str) -> None:
    customer = deposited(context, slug, json.dumps(EXPORT).encode(), "otlp-json")
    found = given_back(context, customer, TRACE)
    assert found.export == EXPORT
    assert "-0.0" in json.dumps(found.export), "numbers are written as they were"

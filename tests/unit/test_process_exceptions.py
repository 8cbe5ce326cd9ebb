"""Exceptions of spans as they were posted, in each format that can say them, through the default pipeline."""

import json
from typing import Any

import pyarrow as pa
import pytest

from pipelines import DEFAULT, parse
from tasks.processors import process
from tests.unit.decode_samples import (
    FORMATS,
    attribute,
    decode,
    ipc,
    ndjson,
    objects,
    otlp,
    otlp_json,
    raw,
    table,
)
from tests.unit.process_by_hand import listed

STACK = 'Traceback (most recent call last):\n  File "/srv/shop/cart.py", line 7, in add\nKeyError: 7'
SAID = {
    "exception.type": "KeyError",
    "exception.message": "Bearer abcdefgh12345",
    "exception.stacktrace": STACK,
}
EVENTS = table(12)
BROKEN = (3, 5)  # rows, of two services
AT_NS = 1_675_000_000_000_001_999


def bodies() -> dict[str, bytes]:
    request = otlp(EVENTS)
    spans = {span.span_id: span for group in request.resource_spans for span in group.scope_spans[0].spans}
    for row in BROKEN:
        span = spans[EVENTS["event_id"][row].as_py()]
        span.events.add(name="log", time_unix_nano=AT_NS - 5_000)
        for at_ns in (AT_NS + 7_000, AT_NS):
            event = span.events.add(name="exception", time_unix_nano=at_ns)
            for key, text in SAID.items():
                attribute(event, key, text if at_ns == AT_NS else "later")
    pairs = [{"key": key, "value": {"stringValue": text}} for key, text in SAID.items()]
    said = [{"timeUnixNano": str(AT_NS), "name": "exception", "attributes": pairs}]
    lines = objects(EVENTS)
    for row in BROKEN:
        lines[row]["span_events"] = said
    column = [json.dumps(said) if row in BROKEN else None for row in range(len(EVENTS))]
    return {
        "otlp-protobuf": request.SerializeToString(),
        "otlp-json": otlp_json(request),
        "ndjson": ndjson(*lines),
        "json": json.dumps(lines).encode(),
        "arrow": ipc(EVENTS.append_column("span_events", pa.array(column, pa.string()))),
    }


@pytest.mark.parametrize("form", FORMATS)
def test_they_are_counted_in_every_format(form: str) -> None:
    decoded = decode(raw(bodies()[form], form))
    assert decoded.rejects == []
    outcome = process(decoded.good, parse(DEFAULT))
    rows: list[dict[str, Any]] = listed(outcome.exceptions)
    assert [(row["service"], row["type"], row["message"], row["count"]) for row in rows] == [
        (f"service-{row}", "KeyError", "[redacted]", 1) for row in BROKEN
    ]
    assert {row["first_seen"] for row in rows} == {AT_NS // 1_000}
    assert len({row["fingerprint"] for row in rows}) == 1
    known = [row for row in listed(outcome.interactions) if row["exception_type"] is not None]
    assert {row["exception_event_id"] for row in known} == {EVENTS["event_id"][row].as_py() for row in BROKEN}
    assert {row["exception_fingerprint"] for row in known} == {rows[0]["fingerprint"]}


def test_those_of_dropped_events_are_not_counted() -> None:
    decoded = decode(raw(bodies()["otlp-protobuf"], "otlp-protobuf"))
    drop = {"step": "drop", "rule": "some", "where": {"service": ["service-3"]}}
    steps = {"steps": [drop, {"step": "compose"}, {"step": "exceptions"}]}
    outcome = process(decoded.good, parse(json.dumps(steps)))
    assert outcome.exceptions["service"].to_pylist() == ["service-5"]

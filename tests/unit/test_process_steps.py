"""The steps, each by examples that a reader can check with the page."""

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from bench.check import expected
from pipelines import DEFAULT, parse
from tasks.events import EVENTS, EventTable
from tasks.processors import Processed, process
from tests.unit.process_by_hand import Event, events_table, listed

ROW: Event = {
    "event_id": b"\1" * 8,
    "trace_id": bytes(16),
    "parent_id": None,
    "started_at": 1_675_000_000_000_000,
    "duration_us": 5,
    "service": "cart",
    "operation": "SELECT orders",
    "kind": None,
    "status": "ok",
    "status_message": None,
    "user_id": None,
    "attributes": [],
}
KEEP_ALL = {"step": "keep", "percent": 100}


def run(events: list[Event], *steps: dict[str, Any]) -> Processed:
    definition = json.dumps({"steps": steps}) if steps else DEFAULT
    return process(EventTable.of(events_table(events)), parse(definition))


def attributes_after(step: dict[str, Any], *events: Event) -> list[list[tuple[str, str]]]:
    return [row["attributes"] for row in listed(run(list(events), step, KEEP_ALL).events)]


def operation_after_normalise(operation: str) -> str:
    kept = run([ROW | {"operation": operation}], {"step": "normalise"}, KEEP_ALL).events
    name: str = kept["operation"][0].as_py()
    return name


@pytest.mark.parametrize("name", ["/" + "é" * 400 + "/1" * 111, "/" + "x" * 899 + "/1" * 62, "/1" * 512])
def test_an_operation_without_ids_is_not_longer_than_any_other(name: str) -> None:
    assert len(name.encode()) <= 1_024
    found = operation_after_normalise(name).encode()
    assert len(found) in (1_023, 1_024)
    assert (name.replace("/1", "/{id}").encode()).startswith(found)


@pytest.mark.parametrize(
    "operation",
    [
        "/health",
        "GET /healthz",
        "HEAD /livez/",
        "/readyz?verbose",
        "GET /ping",
        "GET /actuator/health/liveness",
        "/q/health/ready",
        "OPTIONS /_health",
    ],
)
def test_the_default_drops_a_health_check(operation: str) -> None:
    processed = run([ROW | {"operation": operation}, ROW])
    assert processed.dropped == {"health-checks": 1}
    assert processed.kept == 1


@pytest.mark.parametrize(
    "operation",
    ["/healthy", "GET /patients/7/health", "health", "get /health", "/ping/pong", "/health\n", "/status"],
)
def test_the_default_leaves_what_only_looks_like_a_health_check(operation: str) -> None:
    assert run([ROW | {"operation": operation}]).kept == 1


@pytest.mark.parametrize(
    ("operation", "normalised"),
    [
        ("/1/2/3", "/{id}/{id}/{id}"),
        ("GET /orders/17/items/18/", "GET /orders/{id}/items/{id}/"),
        ("/u/550e8400-e29b-41d4-a716-446655440000", "/u/{id}"),
        ("/u/550E8400-E29B-41D4-A716-446655440000/x", "/u/{id}/x"),
        ("/c/0123456789abcdef", "/c/{id}"),
        ("/c/0123456789abcde", "/c/0123456789abcde"),
        ("/c/deadbeef", "/c/deadbeef"),
        ("/v1/users", "/v1/users"),
        ("/a/1?b=/2/3#c", "/a/{id}"),
        ("GET /a#b", "GET /a"),
        ("/a/-1", "/a/-1"),
        ("/*", "/*"),
        ("/", "/"),
        ("send /orders/17", "send /orders/17"),
        ("SELECT a/1", "SELECT a/1"),
        ("GET 1/2", "GET 1/2"),
        ("/" + "\N{SNOWMAN}" * 1100, "/" + "\N{SNOWMAN}" * 341),
    ],
)
def test_ids_leave_operations_that_are_paths(operation: str, normalised: str) -> None:
    assert operation_after_normalise(operation) == normalised
    assert operation_after_normalise(normalised) == normalised


def test_operations_that_become_one_are_rolled_up_as_one() -> None:
    events = [ROW | {"operation": operation} for operation in ("/a/1", "/a/2", "/a/{id}", "/a/x")]
    rollups = run(events, {"step": "normalise"}, {"step": "rollup"}).rollups
    assert dict(zip(rollups["operation"].to_pylist(), rollups["count"].to_pylist(), strict=True)) == {
        "/a/{id}": 3,
        "/a/x": 1,
    }


@pytest.mark.parametrize(
    ("key", "value", "kept"),
    [
        ("password", "hunter2", "[redacted]"),
        ("db.Passwd", "hunter2", "[redacted]"),
        ("CLIENT_SECRET", "x", "[redacted]"),
        ("auth.token", "x", "[redacted]"),
        ("http.request.header.authorization", "x", "[redacted]"),
        ("Set-Cookie", "x", "[redacted]"),
        ("X-Api-Key", "x", "[redacted]"),
        ("apikey", None, "[redacted]"),
        ("note", "sent Bearer abcdef.123456", "[redacted]"),
        ("note", "bearer of good news", "bearer of good news"),
        ("note", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "[redacted]"),
        ("http.route", "/login", "/login"),
        ("note", None, None),
    ],
)
def test_secrets_leave_the_attributes(key: str, value: str | None, kept: str | None) -> None:
    assert attributes_after({"step": "redact"}, ROW | {"attributes": [(key, value)]}) == [[(key, kept)]]


def names_on_the_page() -> list[tuple[str, str]]:
    """The names of attributes in the table under *redact*, and whether their values are hidden or shown."""
    page = (Path(__file__).resolve().parents[2] / "docs" / "pipeline.md").read_text()
    rows = re.findall(r"^\| (`.+`) \| (hidden|shown) \|$", page, re.MULTILINE)
    return [(name, said) for names, said in rows for name in re.findall(r"`([^`]+)`", names)]


@pytest.mark.parametrize(("name", "said"), names_on_the_page())
def test_whole_words_of_an_attributes_name_say_whether_it_is_hidden(name: str, said: str) -> None:
    kept = "x" if said == "shown" else "[redacted]"
    assert attributes_after({"step": "redact"}, ROW | {"attributes": [(name, "x")]}) == [[(name, kept)]]
    assert expected.redacted([(name, "x")]) == {name: kept}


def test_the_page_has_names_of_both_kinds() -> None:
    assert min(Counter(said for _, said in names_on_the_page()).values()) > 20


def test_redaction_is_seen_by_the_steps_behind_it() -> None:
    drop = {"step": "drop", "rule": "x", "where": {"attributes": {"password": ["hunter2"]}}}
    event = ROW | {"attributes": [("password", "hunter2")]}
    assert run([event], drop, KEEP_ALL).dropped == {"x": 1}
    assert run([event], {"step": "redact"}, drop, KEEP_ALL).dropped == {"x": 0}


def test_enrich_replaces_a_value_and_leaves_other_events_alone() -> None:
    step = {"step": "enrich", "attributes": {"env": "prod", "zone": "a"}, "where": {"service": ["cart"]}}
    cart, other = (
        ROW | {"attributes": [("env", "test"), ("k", "v")]},
        ROW | {"service": "x", "attributes": [("env", "t")]},
    )
    assert attributes_after(step, other, cart, other) == [
        [("env", "t")],
        [("k", "v"), ("env", "prod"), ("zone", "a")],
        [("env", "t")],
    ]


def test_enrich_finds_its_events_again_after_others_were_dropped() -> None:
    enrich = {"step": "enrich", "attributes": {"slow": "yes"}, "where": {"min_duration_us": 10}}
    drop = {"step": "drop", "rule": "noise", "where": {"service": ["noise"]}}
    events = [ROW | {"service": "noise"}, ROW | {"duration_us": 10}, ROW, ROW | {"service": "noise"}, ROW]
    rows = listed(run(events, enrich, drop, KEEP_ALL).events)
    assert [row["attributes"] for row in rows] == [[("slow", "yes")], [], []]


def test_rename_looks_each_name_up_once() -> None:
    step = {"step": "rename", "services": {"cart": "b", "b": "c"}, "attributes": {"x": "y", "y": "z"}}
    events = [ROW | {"attributes": [("x", "1"), ("y", "2")]}, ROW | {"service": "b"}]
    rows = listed(run(events, step, KEEP_ALL).events)
    assert [row["service"] for row in rows] == ["b", "c"]
    assert rows[0]["attributes"] == [("y", "1"), ("z", "2")]


@pytest.mark.parametrize(
    ("percent", "threshold"), [(1, "fd70a3d70a3d71"), (50, "80000000000000"), (100, "0" * 14)]
)
def test_a_trace_is_chosen_when_its_random_bits_reach_the_threshold(percent: float, threshold: str) -> None:
    at = int(threshold, 16)
    below = [ROW | {"trace_id": b"\xff" * 9 + (at - 1).to_bytes(7, "big")}] if at else []
    events = [ROW | {"trace_id": bytes(9) + at.to_bytes(7, "big")}, *below]
    processed = run(events, {"step": "sample", "rule": "few", "percent": percent}, KEEP_ALL)
    assert (processed.kept, processed.dropped) == (1, {"few": len(below)})


def test_no_trace_is_chosen_at_zero_percent() -> None:
    sample = {"step": "sample", "rule": "none", "percent": 0}
    assert run([ROW | {"trace_id": b"\xff" * 16}], sample, KEEP_ALL).dropped == {"none": 1}


def test_keep_takes_what_is_slower_and_not_what_is_as_slow() -> None:
    events = [ROW | {"duration_us": duration} for duration in (999, 1000, 1001)]
    kept = run(events, {"step": "keep", "slower_than_us": 1000}).events
    assert kept["duration_us"].to_pylist() == [1001]


def test_roots_that_start_together_are_told_apart_by_their_id() -> None:
    first, second = (
        ROW | {"event_id": bytes(7) + b"\2"},
        ROW | {"event_id": b"\1" + bytes(7), "operation": "b"},
    )
    for events in ([first, second], [second, first]):
        assert run(events, {"step": "compose"}).interactions["root_operation"].to_pylist() == [
            "SELECT orders"
        ]


def test_roots_of_one_id_and_start_are_told_apart_by_service_before_operation() -> None:
    first, second = ROW | {"service": "a", "operation": "z"}, ROW | {"service": "b", "operation": "y"}
    for events in ([first, second], [second, first]):
        assert run(events, {"step": "compose"}).interactions["root_service"].to_pylist() == ["a"]


def test_what_lies_under_a_null_map_is_no_attribute() -> None:
    events = events_table([ROW, ROW, ROW])
    keys, values = pa.array(["env", "password", "note"]), pa.array(["a", "b", "c"])
    hidden = pa.array([False, True, False])
    maps = pa.MapArray.from_arrays(pa.array([0, 1, 2, 3], pa.int32()), keys, values, mask=hidden)
    assert maps.offsets.to_pylist() == [0, 1, 2, 3]
    at = events.column_names.index("attributes")
    events = events.set_column(at, EVENTS.field(at), pa.chunked_array([maps]))
    kept = process(EventTable.of(events), parse(json.dumps({"steps": [{"step": "redact"}, KEEP_ALL]}))).events
    assert kept["attributes"].to_pylist() == [[("env", "a")], [], [("note", "c")]]


def test_an_empty_table_gives_empty_tables() -> None:
    processed = run([])
    assert [len(t) for t in (processed.interactions, processed.rollups, processed.events)] == [0, 0, 0]
    assert (processed.kept, processed.dropped) == (0, {"health-checks": 0})

"""Small Arrow tables of results from Python values, and the same merges done by hand."""

import random
import time
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from tasks.events import log_schema

TIMESTAMP = pa.timestamp("us", tz="UTC")
INTERACTIONS = pa.schema(
    {
        "trace_id": pa.binary(16),
        "root_service": pa.string(),
        "root_operation": pa.string(),
        "root_event_id": pa.binary(8),
        "root_started_at": TIMESTAMP,
        "user_id": pa.string(),
        "started_at": TIMESTAMP,
        "ended_at": TIMESTAMP,
        "events": pa.int64(),
        "errors": pa.int64(),
        "logs": pa.int64(),
        "log_errors": pa.int64(),
        "exception_at": TIMESTAMP,
        "exception_event_id": pa.binary(8),
        "exception_fingerprint": pa.string(),
        "exception_type": pa.string(),
        "exception_message": pa.string(),
    }
)
ROLLUPS = pa.schema(
    {
        "minute": TIMESTAMP,
        "service": pa.string(),
        "operation": pa.string(),
        "status": pa.string(),
        "bucket": pa.int16(),
        "count": pa.int64(),
        "duration_sum": pa.int64(),
        "duration_min": pa.int64(),
        "duration_max": pa.int64(),
    }
)
SPLIT_ROLLUPS = pa.schema(
    [
        *ROLLUPS,
        *(pa.field(name, pa.string()) for name in ("environment", "version")),
        pa.field("most", pa.int64()),
    ]
)
EXCEPTIONS = pa.schema(
    {
        "minute": TIMESTAMP,
        "service": pa.string(),
        "fingerprint": pa.string(),
        "type": pa.string(),
        "message": pa.string(),
        "count": pa.int64(),
        "first_seen": TIMESTAMP,
        "last_seen": TIMESTAMP,
        "most": pa.int64(),
    }
)
EVENTS = pa.schema(
    {
        "event_id": pa.binary(8),
        "trace_id": pa.binary(16),
        "parent_id": pa.binary(8),
        "started_at": TIMESTAMP,
        "duration_us": pa.int64(),
        "service": pa.string(),
        "operation": pa.string(),
        "kind": pa.string(),
        "status": pa.string(),
        "status_message": pa.string(),
        "user_id": pa.string(),
        "attributes": pa.map_(pa.string(), pa.string()),
        "trace_state": pa.string(),
        "flags": pa.int64(),
        **dict.fromkeys(("resource", "scope", "span", "span_events", "links"), pa.string()),
        "window_id": pa.int64(),
        "position": pa.int32(),
    }
)
LOGS = pa.schema([*log_schema.LOGS, pa.field("window_id", pa.int64()), pa.field("position", pa.int32())])
LOG_ROLLUPS = pa.schema(
    {"minute": TIMESTAMP, "service": pa.string(), "severity": pa.string(), "count": pa.int64()}
)
# Odd words that a file format or a quoting rule may trip over.
WORDS = (
    "",
    "a",
    'say "hi"',
    "back\\slash",
    "a,b",
    "two\nlines",
    "\\N",
    "NULL",
    "žluťoučký",
    "Z",
    "z",
    "\\x00",
)
START_US = 1_675_000_020_000_000  # a whole minute of 2023

Row = dict[str, Any]


def interactions_table(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist([{"logs": 0, "log_errors": 0} | row for row in rows], INTERACTIONS)


def rollups_table(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), ROLLUPS)


def split_rollups_table(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), SPLIT_ROLLUPS)


def exceptions_table(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), EXCEPTIONS)


def events_table(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), EVENTS)


def logs_table(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), LOGS)


def log_rollups_table(rows: Sequence[Row]) -> pa.Table:
    return pa.Table.from_pylist(list(rows), LOG_ROLLUPS)


def when(us: int) -> datetime:
    return datetime.fromtimestamp(us // 1_000_000, UTC).replace(microsecond=us % 1_000_000)


def some_interaction(chance: random.Random, traces: int) -> Row:
    """A partial row of one of so many traces; three in four know no root, as many no exception, and some log
    records only.
    """
    events = chance.randrange(9)
    start = START_US + chance.randrange(5) - (0 if events else 1_000_000)
    row: Row = {
        "trace_id": bytes([7] * 15 + [chance.randrange(traces)]),
        "user_id": chance.choice([None, *WORDS]),
        "started_at": start,
        "ended_at": start + chance.randrange(1000),
        "events": events,
        "errors": chance.choice([0, 0, 1]) if events else 0,
        "logs": chance.randrange(1, 4),
        "log_errors": chance.randrange(2),
    }
    if events and chance.random() < 0.25:
        row["root_service"], row["root_operation"] = chance.choice(WORDS), chance.choice(WORDS)
        row["root_event_id"] = bytes(7) + bytes([chance.randrange(3)])
        row["root_started_at"] = START_US + chance.randrange(3)
    if chance.random() < 0.25:
        row["exception_at"] = START_US + chance.randrange(3)
        row["exception_event_id"] = bytes(7) + bytes([chance.randrange(2)])
        for name in ("fingerprint", "type", "message"):
            row[f"exception_{name}"] = chance.choice(WORDS)
    return row


def merged_interactions(rows: Iterable[Row]) -> dict[bytes, tuple[object, ...]]:
    """Trace → (root service, operation, event, start, user, start, end, events, errors, status, and of the
    exception: time, event, fingerprint, type, message, and logs, log errors).
    """
    merged: dict[bytes, list[Row]] = {}
    for row in rows:
        merged.setdefault(row["trace_id"], []).append(row)
    return {trace: _interaction(parts) for trace, parts in merged.items()}


def _interaction(parts: list[Row]) -> tuple[object, ...]:
    names = ("root_started_at", "root_event_id", "root_service", "root_operation")
    roots = [
        (part[names[0]], part[names[1]], part[names[2]].encode(), part[names[3]].encode())
        for part in parts
        if "root_event_id" in part
    ]
    start, event, service, operation = min(roots, default=(None, None, None, None))
    users = [part["user_id"].encode() for part in parts if part["user_id"] is not None]
    errors = sum(part["errors"] for part in parts)
    timed = [part for part in parts if part["events"]] or parts
    return (
        None if service is None else service.decode(),
        None if operation is None else operation.decode(),
        event,
        None if start is None else when(start),
        max(users).decode() if users else None,
        when(min(part["started_at"] for part in timed)),
        when(max(part["ended_at"] for part in timed)),
        sum(part["events"] for part in parts),
        errors,
        "error" if errors else "ok",
        *_exception(parts),
        sum(part["logs"] for part in parts),
        sum(part["log_errors"] for part in parts),
    )


def _exception(parts: list[Row]) -> tuple[object, ...]:
    words = [f"exception_{name}" for name in ("fingerprint", "type", "message")]
    known = [
        (part["exception_at"], part["exception_event_id"], *(part[name].encode() for name in words))
        for part in parts
        if "exception_at" in part
    ]
    if not known:
        return (None,) * 5
    at, event, *said = min(known)
    return when(at), event, *(word.decode() for word in said)


def some_rollup(chance: random.Random) -> Row:
    count = chance.randrange(1, 100)
    least = chance.randrange(1000)
    return {
        "minute": START_US + 60_000_000 * chance.randrange(2),
        "service": chance.choice(WORDS),
        "operation": chance.choice(WORDS[:4]),
        "status": chance.choice(["ok", "error"]),
        "bucket": chance.randrange(6),
        "count": count,
        "duration_sum": count * (least + 5),
        "duration_min": least,
        "duration_max": least + 10,
    }


def merged_rollups(rows: Iterable[Row]) -> dict[tuple[object, ...], tuple[object, ...]]:
    """(minute, service, operation, status) → (count, sum, min, max, histogram)."""
    merged: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        key = (when(row["minute"]), row["service"], row["operation"], row["status"])
        merged.setdefault(key, []).append(row)
    return {key: _rollup(parts) for key, parts in merged.items()}


def _rollup(parts: list[Row]) -> tuple[object, ...]:
    histogram: dict[str, int] = {}
    for part in parts:
        histogram[str(part["bucket"])] = histogram.get(str(part["bucket"]), 0) + part["count"]
    return (
        sum(part["count"] for part in parts),
        min(sum(part["duration_sum"] for part in parts), 2**63 - 1),
        min(part["duration_min"] for part in parts),
        max(part["duration_max"] for part in parts),
        histogram,
    )


def an_event(**changes: Any) -> Row:
    row: Row = {
        "event_id": bytes([1] * 8),
        "trace_id": bytes([2] * 16),
        "parent_id": None,
        "started_at": time.time_ns() // 1000,
        "duration_us": 7,
        "service": "shop",
        "operation": "GET /",
        "kind": None,
        "status": "ok",
        "status_message": None,
        "user_id": None,
        "attributes": [],
        **dict.fromkeys(("trace_state", "flags", "resource", "scope", "span", "span_events", "links")),
    }
    return row | changes


def a_log(**changes: Any) -> Row:
    row: Row = {
        "at": time.time_ns() // 1000,
        "severity_number": 17,
        "service": "shop",
        "body": '{"stringValue":"no stock"}',
        "attributes": "[]",
        "dropped_attributes": 0,
        "resource": "{}",
        "flags": 0,
    }
    return row | changes

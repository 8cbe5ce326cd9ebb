"""The rules of docs/pipeline.md event by event in plain Python, and events and pipelines to try them on."""

import itertools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from pipelines.steps import REDACTED_KEYS, REDACTED_VALUES
from tasks.events import EVENTS, WHOLE, detail_columns
from tests.unit.exceptions_by_hand import (
    EXCEPTION,
    details,
    exceptions_by_hand,
    first_of_all,
    redacted_by_hand,
)
from tests.unit.rollups_by_hand import SAID, Key, rollups_by_hand, split_rollups_by_hand

# The columns of EVENTS, times in µs, attributes a list of pairs or None; and perhaps `exceptions`.
Event = dict[str, Any]

UUID = r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
TIMES = (
    *("started_at", "ended_at", "root_started_at", "minute"),
    *("exception_at", "first_seen", "last_seen"),
)


@dataclass(kw_only=True)
class ByHand:
    interactions: dict[bytes, dict[str, Any]] = field(default_factory=dict)
    rollups: dict[Key, dict[str, int]] = field(default_factory=dict)
    split_rollups: dict[Key, dict[str, int]] = field(default_factory=dict)
    exceptions: dict[Key, dict[str, Any]] = field(default_factory=dict)
    events: list[Event] = field(default_factory=list)
    kept: int = 0
    dropped: dict[str, int] = field(default_factory=dict)


def process_by_hand(events: Iterable[Event], definition: dict[str, Any]) -> ByHand:
    rows = [dict(event) for event in events]
    result = ByHand()
    for step in definition["steps"]:
        match step["step"]:
            case "drop":
                rows = _removed(result, rows, step, [row for row in rows if not _holds(row, step["where"])])
            case "sample":
                rest = [
                    r for r in rows if not _holds(r, step.get("where", {})) or _chosen(r, step["percent"])
                ]
                rows = _removed(result, rows, step, rest)
            case "compose":
                result.interactions = _interactions(rows)
            case "rollup":
                result.rollups = rollups_by_hand(rows)
                result.split_rollups = split_rollups_by_hand(rows, step)
            case "exceptions":
                result.exceptions = exceptions_by_hand(rows)
            case "keep":
                result.events = [row for row in rows if _worth(row, step)]
            case _:
                rows = [_changed(row, step) for row in rows]
    result.kept = len(rows)
    return result


def _removed(result: ByHand, rows: list[Event], step: dict[str, Any], rest: list[Event]) -> list[Event]:
    result.dropped[step["rule"]] = len(rows) - len(rest)
    return rest


def _matches(text: str | None, match: Any) -> bool:
    if text is None:
        return False
    return bool(re.search(match["regex"], text)) if isinstance(match, dict) else text in match


def _holds(row: Event, where: dict[str, Any]) -> bool:
    pairs = row["attributes"] or []
    return (
        all(_matches(row[name], where[name]) for name in ("service", "operation", "kind") if name in where)
        and ("status" not in where or row["status"] == where["status"])
        and row["duration_us"] >= where.get("min_duration_us", 0)
        and row["duration_us"] <= where.get("max_duration_us", 2**63)
        and all(
            any(key == wanted and _matches(value, match) for key, value in pairs)
            for wanted, match in where.get("attributes", {}).items()
        )
    )


def _chosen(row: Event, percent: float) -> bool:
    return int(row["trace_id"].hex()[-14:], 16) >= 2**56 - round(percent / 100 * 2**56)


def _changed(row: Event, step: dict[str, Any]) -> Event:
    pairs = list(row["attributes"] or [])
    if step["step"] == "redact":
        keys, values = step.get("keys", REDACTED_KEYS), step.get("values", REDACTED_VALUES)
        pairs = [
            (k, "[redacted]" if re.search(keys, k) or re.search(values, v or "") else v) for k, v in pairs
        ]
        row = row | {"exceptions": redacted_by_hand(row, keys, values)}
    elif step["step"] == "rename":
        new = step.get("attributes", {})
        pairs = [(new.get(key, key), value) for key, value in pairs]
        row["service"] = step.get("services", {}).get(row["service"], row["service"])
        row["operation"] = step.get("operations", {}).get(row["operation"], row["operation"])
    elif step["step"] == "enrich" and _holds(row, step.get("where", {})):
        pairs = [(k, v) for k, v in pairs if k not in step["attributes"]] + list(step["attributes"].items())
    elif step["step"] == "normalise":
        row["operation"] = _normalised(row["operation"])
    return row | {"attributes": pairs}


def _normalised(operation: str) -> str:
    if not re.match(r"(?:[A-Z]+ )?/", operation):
        return operation
    head, *segments = re.split(r"[?#]", operation, maxsplit=1)[0].split("/")
    ids = rf"[0-9]+|{UUID}|[0-9a-fA-F]{{16,}}"
    named = "/".join([head, *("{id}" if re.fullmatch(ids, s) else s for s in segments)])
    return named.encode()[:1_024].decode(errors="ignore")


def _worth(row: Event, step: dict[str, Any]) -> bool:
    slow = step.get("slower_than_us")
    return (
        (step.get("errors", True) and row["status"] == "error")
        or (slow is not None and row["duration_us"] > slow)
        or _chosen(row, step.get("percent", 0))
    )


def _interactions(rows: list[Event]) -> dict[bytes, dict[str, Any]]:
    result = {}
    for trace_id in {row["trace_id"] for row in rows}:
        mine = [row for row in rows if row["trace_id"] == trace_id]
        root_key = ("started_at", "event_id", "service", "operation")
        roots = sorted(tuple(row[n] for n in root_key) for row in mine if row["parent_id"] is None)
        root = roots[0] if roots else (None,) * 4
        result[trace_id] = {
            **dict(zip((f"root_{name}" for name in root_key), root, strict=True)),
            "user_id": max(
                (row["user_id"].encode() for row in mine if row["user_id"] is not None), default=None
            ),
            "started_at": min(row["started_at"] for row in mine),
            "ended_at": max(row["started_at"] + row["duration_us"] for row in mine),
            "events": len(mine),
            "errors": sum(row["status"] == "error" for row in mine),
            **first_of_all(mine),
            "logs": 0,
            "log_errors": 0,
        }
        if result[trace_id]["user_id"] is not None:
            result[trace_id]["user_id"] = result[trace_id]["user_id"].decode()
    return result


def listed(table: pa.Table) -> list[dict[str, Any]]:
    """The rows of a table with times in µs."""
    for name in (name for name in table.column_names if name in TIMES):
        at = table.column_names.index(name)
        table = table.set_column(at, name, table[name].cast(pa.int64()))
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def events_table(events: Sequence[Event]) -> pa.Table:
    """The events as a table of WHOLE."""
    columns = [pa.array([event[f.name] for event in events], pa.int64()).cast(f.type) if f.name in TIMES
               else pa.array([event[f.name] for event in events], f.type) for f in EVENTS]  # fmt: skip
    return pa.table([*columns, *detail_columns([*map(details, events)]).columns], schema=WHOLE)


def chunked(events: Sequence[Event], cuts: Sequence[int]) -> pa.Table:
    """The same events as slices out of larger tables, so that arrays have offsets, in several chunks."""
    edges = [0, *sorted(cut % (len(events) + 1) for cut in cuts), len(events)]
    parts = []
    for first, last in itertools.pairwise(edges):
        margin = list(events[:2])
        whole = events_table([*margin, *events[first:last], *margin])
        parts.append(whole.slice(len(margin), last - first))
    return pa.concat_tables(parts)


TRACES = [bytes(9) + bytes.fromhex(low) for low in ("00000000000001", "80000000000000", "fd70a3d70a3d71")]
TRACES += [b"\1" * 16, b"\xff" * 16]
ATTRIBUTES = st.lists(
    st.tuples(
        st.sampled_from(["db.system", "Password", "x-api-key", "http.route", "env", "note", *SAID]),
        st.sampled_from(["mysql", "Bearer abcdefgh12345", "", "prod", "a\N{SNOWMAN}", None]),
    ),
    max_size=4,
)
OPERATIONS = [
    "GET /health",
    "/ping",
    "GET /orders/17/items/18",
    "GET /orders/{id}/items/{id}",
    "/a/0123456789abcdef0?q=1",
    "POST /u/550e8400-e29b-41d4-a716-446655440000/",
    "SELECT orders",
    "send /9",
    "\N{SNOWMAN}",
]
EVENT = st.fixed_dictionaries(
    {
        "event_id": st.integers(1, 6).map(lambda n: n.to_bytes(8, "little")),
        "trace_id": st.sampled_from(TRACES),
        "parent_id": st.sampled_from([None, None, b"\2" * 8]),
        "started_at": st.integers(0, 5).map(lambda n: 1_675_000_000_000_000 + n * 29_999_999),
        "duration_us": st.sampled_from([0, 1, 2, 3, 999, 1_000_000, 1_000_001, 2**53 - 1])
        | st.integers(0, 2**53),
        "service": st.sampled_from(["cart", "orders", "z\N{SNOWMAN}"]),
        "operation": st.sampled_from(OPERATIONS),
        "kind": st.sampled_from([None, "server", "client"]),
        "status": st.sampled_from(["ok", "ok", "error"]),
        "status_message": st.sampled_from([None, "broken"]),
        "user_id": st.sampled_from([None, None, "u1", "u\N{SNOWMAN}", "u\U0001f600", "\uffee"]),
        "attributes": st.none() | ATTRIBUTES,
        "exceptions": st.lists(EXCEPTION, max_size=2),
    }
)
WHERE: st.SearchStrategy[dict[str, Any]] = st.fixed_dictionaries(
    {},
    optional={
        "service": st.sampled_from([["cart"], ["orders", "cart"], {"regex": "^z"}]),
        "operation": st.sampled_from([["SELECT orders"], {"regex": "orders/"}]),
        "kind": st.sampled_from([["server"], {"regex": "c"}]),
        "status": st.sampled_from(["ok", "error"]),
        "attributes": st.sampled_from(
            [{"env": ["prod"]}, {"db.system": {"regex": "sql$"}, "Password": [""]}]
        ),
        "min_duration_us": st.sampled_from([0, 2, 1_000_000]),
        "max_duration_us": st.sampled_from([1_000_000, 2**53]),
    },
)
CHANGES: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries({"step": st.just("drop"), "where": WHERE.filter(bool)}),
    st.fixed_dictionaries(
        {"step": st.just("sample"), "percent": st.sampled_from([0, 1, 50, 100]), "where": WHERE}
    ),
    st.sampled_from(
        [
            {"step": "redact"},
            {"step": "redact", "keys": "^note$", "values": "o"},
            {"step": "rename", "services": {"cart": "orders"}, "operations": {"/ping": "SELECT orders"}},
            {"step": "rename", "attributes": {"env": "environment", "note": "Password"}},
            {"step": "normalise"},
        ]
    ),
    st.fixed_dictionaries(
        {
            "step": st.just("enrich"),
            "attributes": st.sampled_from([{"env": "prod"}, {"region": "eu", "note": "x"}]),
            "where": WHERE,
        }
    ),
)


@st.composite
def definitions(draw: st.DrawFn) -> dict[str, Any]:
    """Any pipeline: some changes, then all the outputs."""
    steps = [dict(step) for step in draw(st.lists(CHANGES, max_size=5))]
    for number, step in enumerate(steps):
        if step["step"] in ("drop", "sample"):
            step["rule"] = f"rule-{number}"
    keep = {"step": "keep", "slower_than_us": 1_000_000, "percent": draw(st.sampled_from([0, 1, 100, 100]))}
    by = draw(st.sampled_from([[], ["environment"], ["version"], ["environment", "version"]]))
    outputs = [{"step": "compose"}, {"step": "rollup", "by": by}, {"step": "exceptions"}, keep]
    return {"steps": [*steps, *outputs]}

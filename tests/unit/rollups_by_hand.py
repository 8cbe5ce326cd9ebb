"""The rules of docs/pipeline.md for rollups, event by event in plain Python."""

import itertools
from collections.abc import Sequence
from typing import Any

Event = dict[str, Any]
Key = tuple[Any, ...]
SAID = ("deployment.environment.name", "deployment.environment", "service.version")


def bucket_by_hand(duration_us: int) -> int:
    return next(i for i in itertools.count() if duration_us * 10**i <= 11**i)


def split_rollups_by_hand(rows: list[Event], step: dict[str, Any]) -> dict[Key, dict[str, int]]:
    if not step.get("by"):
        return {}
    old = "deployment.environment"
    keys = {"environment": (f"{old}.name", old), "version": ("service.version",)}
    split = [
        row | {name: _said(row, keys[name]) if name in step["by"] else "" for name in keys} for row in rows
    ]
    return {key: values | {"most": step.get("most", 50)} for key, values in rollups_by_hand(split).items()}


def _said(row: Event, keys: Sequence[str]) -> str:
    for key in keys:
        said = [value or "" for name, value in row["attributes"] or () if name == key]
        if said:
            return max(said)
    return ""


def rollups_by_hand(rows: list[Event]) -> dict[Key, dict[str, int]]:
    groups: dict[Key, list[int]] = {}
    for row in rows:
        minute = row["started_at"] - row["started_at"] % 60_000_000
        duration = row["duration_us"]
        more = (row["environment"], row["version"]) if "version" in row else ()
        key = (minute, *more, row["service"], row["operation"], row["status"], bucket_by_hand(duration))
        groups.setdefault(key, []).append(duration)
    return {
        key: {
            "count": len(durations),
            "duration_sum": min(sum(durations), 2**63 - 1),
            "duration_min": min(durations),
            "duration_max": max(durations),
        }
        for key, durations in groups.items()
    }

"""The rules of docs/pipeline.md for exceptions, event by event in plain Python, and some to try them on."""

import hashlib
import re
from typing import Any

from hypothesis import strategies as st

from tasks.events import AnyValue, KeyValue, SpanDetails
from tasks.events.details import SpanEvent

Event = dict[str, Any]
Counts = dict[tuple[Any, ...], Any]
NAMES = tuple(f"exception_{name}" for name in ("at", "event_id", "fingerprint", "type", "message"))

FRAMES = {
    'Traceback (most recent call last):\n  File "/a/b.py", line 3, in f\n    g()\nValueError: x': "b.py:f",
    'Traceback (most recent call last):\n  File "/c/b.py", line 9, in f\n    g()\nValueError: y': "b.py:f",
    "java.io.IOException: 7\n\tat a.B.c(B.java:4)": "a.B.c",
}
"""Of each stack trace what is left of its frames."""
WORDS = {"no": "no", "caf\u00e9": "caf\u00e9", "Bearer abcdefgh12345": "Bearer abcdefgh"}
"""Of each message the words that are no numbers."""
HIDDEN = "[redacted]"
EXCEPTION = st.fixed_dictionaries(
    {
        "time_ns": st.sampled_from([0, 1_675_000_001_000_000_900, 1_675_000_001_000_001_000, 2**64 - 1]),
        "name": st.sampled_from(["exception", "exception", "log"]),
        "exception.type": st.sampled_from(["ValueError", "java.io.IOException", None]),
        "exception.message": st.sampled_from(list(WORDS)),
        "exception.stacktrace": st.sampled_from(list(FRAMES)),
    }
)


def details(event: Event) -> SpanDetails | None:
    """What an event with these `exceptions` came with."""
    if not event.get("exceptions"):
        return None
    return SpanDetails(events=[_span_event(one) for one in event["exceptions"]])


def _span_event(one: Event) -> SpanEvent:
    said = [(key, text) for key, text in one.items() if key.startswith("exception.") and text is not None]
    pairs = [KeyValue(key, AnyValue(string_value=text)) for key, text in said]
    return SpanEvent(time_unix_nano=str(one["time_ns"]), name=one["name"], attributes=pairs)


def redacted_by_hand(row: Event, keys: str, values: str) -> list[Event]:
    return [
        {
            name: HIDDEN
            if isinstance(said, str) and name != "name" and _secret(name, said, keys, values)
            else said
            for name, said in one.items()
        }
        for one in row.get("exceptions", ())
    ]


def _secret(name: str, said: str, keys: str, values: str) -> bool:
    return bool(re.search(keys, name) or re.search(values, said))


def first_of(row: Event) -> dict[str, Any] | None:
    """The columns of the row's first exception."""
    found = [one for one in row.get("exceptions", ()) if one["name"] == "exception"]
    if not found:
        return None
    one = min(found, key=lambda each: each["time_ns"])
    kind, message = one["exception.type"] or "", one["exception.message"]
    place = FRAMES.get(one["exception.stacktrace"]) or WORDS.get(message, message)
    return {
        "exception_at": one["time_ns"] // 1_000 or row["started_at"],
        "exception_event_id": row["event_id"],
        "exception_fingerprint": hashlib.sha256(f"{kind}\n{place}".encode()).hexdigest()[:16],
        "exception_type": kind,
        "exception_message": message,
    }


def first_of_all(rows: list[Event]) -> dict[str, Any]:
    """The columns of the first exception of an interaction."""
    found = [one for row in rows if (one := first_of(row)) is not None]
    return min(found, key=lambda one: tuple(one.values()), default=dict.fromkeys(NAMES))


def exceptions_by_hand(rows: list[Event], most: int = 100) -> Counts:
    """(minute, service, fingerprint) → the other columns."""
    result: Counts = {}
    for row in rows:
        one = first_of(row)
        if one is not None:
            minute = row["started_at"] - row["started_at"] % 60_000_000
            result.setdefault((minute, row["service"], one["exception_fingerprint"]), []).append(one)
    return {key: _counted(found) | {"most": most} for key, found in result.items()}


def _counted(found: list[dict[str, Any]]) -> dict[str, Any]:
    kind, message = min((one["exception_type"], one["exception_message"]) for one in found)
    times = [one["exception_at"] for one in found]
    return {
        "type": kind,
        "message": message,
        "count": len(found),
        "first_seen": min(times),
        "last_seen": max(times),
    }

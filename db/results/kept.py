"""Kept events read again, with all that is stored of them."""

from typing import Any, Final

from sqlalchemy import Connection, Text, cast, select

from db.tables import events

_FIELDS: Final = (
    *("event_id", "trace_id", "parent_id", "started_at", "duration_us", "service", "operation"),
    *("kind", "status", "status_message", "user_id", "attributes", "trace_state", "flags"),
)
_DOCUMENTS: Final = ("resource", "scope", "span", "span_events", "links")
_COLUMNS: Final = (
    *(events.c[name] for name in _FIELDS),
    *(cast(events.c[name], Text).label(name) for name in _DOCUMENTS),
)


def of_trace(conn: Connection, customer_id: int, trace_id: bytes, *, most: int) -> list[dict[str, Any]]:
    """Columns by name of a trace's events, the earliest first, so many at most; JSON of details as text."""
    mine = select(*_COLUMNS).where(events.c.customer_id == customer_id, events.c.trace_id == trace_id)
    ordered = mine.order_by(events.c.started_at, events.c.window_id, events.c.position)
    return [dict(row) for row in conn.execute(ordered.limit(most)).mappings()]

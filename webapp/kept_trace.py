"""The kept events of a trace, given back as OTLP."""

from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
from sqlalchemy import Connection

from db.results.kept import of_trace
from tasks.events import WHOLE, otlp_export

MOST_EVENTS: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class KeptTrace:
    """`export` is an ExportTraceServiceRequest in OTLP's JSON; `more`: there are events that it lacks."""

    export: dict[str, Any]
    events: int
    more: bool


def find(conn: Connection, customer_id: int, trace_id: bytes) -> KeptTrace | None:
    """The customer's events of this trace, the earliest first, and at most `MOST_EVENTS`; None for none."""
    rows = of_trace(conn, customer_id, trace_id, most=MOST_EVENTS + 1)
    if not rows:
        return None
    more = len(rows) > MOST_EVENTS
    for row in rows:
        row["attributes"] = list(row["attributes"].items())
    table = pa.Table.from_pylist(rows[:MOST_EVENTS], schema=WHOLE)
    return KeptTrace(export=otlp_export(table), events=len(table), more=more)

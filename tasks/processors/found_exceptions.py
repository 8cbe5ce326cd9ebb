"""The exceptions that events tell of: of each event the first, and nothing made of events without one."""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import pyarrow as pa

from tasks.events.details import SpanEvent, time_ns
from tasks.processors.details import value_text
from tasks.processors.fingerprints import fingerprint
from tasks.processors.groups import Integers
from tasks.processors.merge import FIRST_EXCEPTION
from tasks.processors.rows import Rows
from tasks.processors.schemas import INTERACTIONS

LONGEST: Final = 1_024  # bytes of a type, and of a message
_SCHEMA = pa.schema([INTERACTIONS.field(name) for name in FIRST_EXCEPTION])
_NONE = _SCHEMA.empty_table()


@dataclass(frozen=True, slots=True)
class FoundExceptions:
    """`table` has the columns of FIRST_EXCEPTION for the events at `rows`, which tell of an exception."""

    rows: Integers
    table: pa.Table

    @classmethod
    def of(cls, rows: Rows) -> Self:
        """The first exception of each event, as the changes so far have left it."""
        marked = rows.attributes.late.exceptional()
        if marked is None or not marked.any():
            return cls.none()
        at = np.flatnonzero(marked)
        details = rows.attributes.only(marked).exceptions()
        started = rows.integers("started_at")[at].tolist()
        ids = rows.whole("event_id").take(pa.array(at)).to_pylist()
        known: dict[tuple[str, str, str], str] = {}
        found = [
            (row, time_ns(one.events[0]) // 1_000 or start, event_id, *_said(one.events[0], known))
            for row, one, start, event_id in zip(at.tolist(), details, started, ids, strict=True)
            if one is not None and one.events
        ]
        if not found:
            return cls.none()
        numbers, *columns = zip(*found, strict=True)
        arrays = [pa.array(of, field.type) for of, field in zip(columns, _SCHEMA, strict=True)]
        return cls(np.array(numbers, np.int64), pa.table(arrays, schema=_SCHEMA))

    @classmethod
    def none(cls) -> Self:
        """No event tells of any."""
        return cls(np.zeros(0, np.int64), _NONE)


def _said(event: SpanEvent, known: dict[tuple[str, str, str], str]) -> tuple[str, str, str]:
    """Fingerprint, type and message; `known` has the fingerprints that were made."""
    said = {pair.key: value_text(pair.value) for pair in event.attributes if pair.value is not None}
    kind, message = (_cut(said.get(f"exception.{name}", "")) for name in ("type", "message"))
    key = (kind, message, said.get("exception.stacktrace", ""))
    if key not in known:
        known[key] = fingerprint(*key)
    return known[key], kind, message


def _cut(text: str) -> str:
    return text.encode("utf-8", "replace")[:LONGEST].decode("utf-8", "ignore")

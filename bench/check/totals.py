"""What batches of spans have to add to the database in sum, and what it holds in sum.

A second opinion on every run, as `compare` is on a replayed file: with none of the project's code. It holds
for spans without oddities: no health checks, no id in a path, and no row twice.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
import pyarrow as pa
from sqlalchemy import Connection, text

from bench.check.expected import CHOSEN_FROM, KEPT_OVER_US

_ROLLED_UP = text(
    "SELECT COALESCE(SUM(count), 0), COALESCE(SUM(duration_sum), 0),"
    " COALESCE(SUM(CASE WHEN status = 'error' THEN count ELSE 0 END), 0) FROM rollups"
)
_TRACES = text("SELECT COUNT(*), COALESCE(SUM(events), 0) FROM interactions")
_KEPT = text("SELECT COUNT(*) FROM events")


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """Of all customers. `in_traces` are the events that interactions count, `kept` those kept one by one."""

    events: int = 0
    duration_us: int = 0
    errors: int = 0
    traces: int | None = 0  # None: not known
    in_traces: int = 0
    kept: int = 0

    def __add__(self, other: Self) -> "Totals":
        return Totals(
            events=self.events + other.events,
            duration_us=self.duration_us + other.duration_us,
            errors=self.errors + other.errors,
            traces=None if self.traces is None or other.traces is None else self.traces + other.traces,
            in_traces=self.in_traces + other.in_traces,
            kept=self.kept + other.kept,
        )

    def differences(self, there: "Totals") -> list[str]:
        """A sentence for each known sum that is another in the database."""
        wanted, found = asdict(self), asdict(there)
        return [
            f"{name} are {found[name]}, not {value}"
            for name, value in wanted.items()
            if value is not None and found[name] != value
        ]


def of_batches(spans: pa.Table, batch: int) -> list[Totals]:
    """Of each batch of so many spans. A trace is counted in the batch that it first comes in."""
    starts = np.arange(0, len(spans), batch)
    ids = np.frombuffer(spans["trace_id"].combine_chunks().buffers()[1], dtype=np.uint8)
    first = spans["trace_id"].combine_chunks().offset * 16
    octets = ids[first : first + 16 * len(spans)].reshape(-1, 16)
    last = octets[:, 8:].copy()
    last[:, 0] = 0
    chosen = last.view(">u8").reshape(-1) >= CHOSEN_FROM
    duration = spans["duration_us"].to_numpy()
    error = np.array(spans["status"].to_numpy(zero_copy_only=False) == "error")
    new = np.zeros(len(spans), dtype=np.int64)
    new[np.unique(np.ascontiguousarray(octets).view("V16").reshape(-1), return_index=True)[1]] = 1
    kept = error | (duration > KEPT_OVER_US) | chosen
    counts = np.diff(np.append(starts, len(spans)))
    columns: Sequence[np.ndarray[tuple[int], np.dtype[np.int64]]] = [
        np.add.reduceat(values.astype(np.int64), starts) for values in (duration, error, new, kept)
    ]
    return [
        Totals(events=count, duration_us=lasted, errors=errors, traces=traces, in_traces=count, kept=whole)
        for count, lasted, errors, traces, whole in zip(
            counts.tolist(), *(column.tolist() for column in columns), strict=True
        )
    ]


def stored(conn: Connection) -> Totals:
    """Of all customers, since the database was made."""
    events, duration_us, errors = (int(value) for value in conn.execute(_ROLLED_UP).one())
    traces, in_traces = (int(value) for value in conn.execute(_TRACES).one())
    kept = int(conn.execute(_KEPT).scalar_one())
    return Totals(
        events=events, duration_us=duration_us, errors=errors, traces=traces, in_traces=in_traces, kept=kept
    )

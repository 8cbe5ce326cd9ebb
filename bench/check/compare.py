"""The database against the calculation: every difference by its key, in words."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl
import pyarrow as pa
from sqlalchemy import Connection

from bench.check import expected, stored

LISTED = 20  # differences of one kind that are named; the others are counted
OFF_BY = 0.05
GROWTH = 1.1
_ROLLUP_KEY = ("minute", "service", "operation", "status")


@dataclass(slots=True)
class Differences:
    """All that differs: how many of each kind, and the first of each in words."""

    counts: dict[str, int] = field(default_factory=dict)
    named: list[str] = field(default_factory=list)

    def add(self, kind: str, sentences: Sequence[str]) -> None:
        if sentences:
            self.counts[kind] = self.counts.get(kind, 0) + len(sentences)
            self.named += [f"{kind}: {sentence}" for sentence in sentences[:LISTED]]


def compare(spans: pa.Table, conn: Connection, customer: int, *, otlp: bool = False) -> Differences:
    """Of what `spans` sent once must have left, and the rows of the customer, who had none before.

    `otlp`: they were sent as OTLP, which says kinds and users in its own way.
    """
    found = Differences()
    events = expected.counted(spans, otlp=otlp)
    rollups = stored.rollups(conn, customer)
    found.add(
        "interactions",
        rows_differ(expected.interactions(events), stored.interactions(conn, customer), ("trace_id",)),
    )
    found.add("rollups", rows_differ(expected.rollups(events), rollups.drop("histogram"), _ROLLUP_KEY))
    found.add("histograms", histograms_differ(expected.percentiles(events), rollups))
    kept = expected.copies(stored.events(conn, customer))
    found.add(
        "events",
        rows_differ(expected.kept(events), kept, [name for name in kept.columns if name != "copies"]),
    )
    return found


def rows_differ(wanted: pl.DataFrame, there: pl.DataFrame, key: Sequence[str]) -> list[str]:
    """A sentence for each row that is missing, too many, or has another value."""
    values = [name for name in wanted.columns if name not in key]
    both = wanted.with_columns(wanted=pl.lit(True)).join(
        there.with_columns(there=pl.lit(True)),
        on=list(key),
        how="full",
        coalesce=True,
        nulls_equal=True,
        suffix="_there",
    )
    other = pl.any_horizontal(
        pl.col("wanted").is_null(),
        pl.col("there").is_null(),
        *(pl.col(name).ne_missing(pl.col(f"{name}_there")) for name in values),
    )
    return [_sentence(row, key, values) for row in both.filter(other).sort(key).iter_rows(named=True)]


def _sentence(row: dict[str, object], key: Sequence[str], values: Sequence[str]) -> str:
    who = " ".join(f"{name}={_shown(row[name])}" for name in key)
    if row["there"] is None:
        return f"{who} is missing"
    if row["wanted"] is None:
        return f"{who} is there and should not be"
    others = [name for name in values if row[name] != row[f"{name}_there"]]
    return f"{who}: " + ", ".join(
        f"{name} is {_shown(row[f'{name}_there'])}, not {_shown(row[name])}" for name in others
    )


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else repr(value)


def histograms_differ(exact: pl.DataFrame, rollups: pl.DataFrame) -> list[str]:
    """A sentence for each histogram that does not add up to its row's count, and for each percentile that is
    more than 5 % (of less than 20 µs: 1 µs) off the exact one.
    """
    sentences = []
    merged: dict[tuple[int, str, str], dict[int, int]] = {}
    for minute, service, operation, status, count, text in rollups.select(
        *_ROLLUP_KEY, "count", "histogram"
    ).iter_rows():
        buckets = {int(bucket): int(events) for bucket, events in json.loads(text).items()}
        if sum(buckets.values()) != count:
            key = f"minute={minute} service={service!r} operation={operation!r} status={status!r}"
            sentences.append(f"{key}: the histogram holds {sum(buckets.values())} events, not {count}")
        whole = merged.setdefault((minute, service, operation), {})
        for bucket, events in buckets.items():
            whole[bucket] = whole.get(bucket, 0) + events
    for row in exact.sort("minute", "service", "operation").iter_rows(named=True):
        # A row that is missing as a whole is named among the rollups.
        whole = merged.get((row["minute"], row["service"], row["operation"]), {})
        for percent in (50, 95, 99) if whole else ():
            right, read = row[f"p{percent}"], _percentile(whole, percent)
            if abs(read - right) > max(OFF_BY * right, 1.0):
                key = f"minute={row['minute']} service={row['service']!r} operation={row['operation']!r}"
                sentences.append(f"{key}: p{percent} is {read:.1f} µs, not within 5 % of {right} µs")
    return sentences


def _percentile(buckets: dict[int, int], percent: int) -> float:
    """The duration in µs that stands for the bucket in which the nearest rank lies."""
    rank, passed = -(-sum(buckets.values()) * percent // 100), 0
    for bucket in sorted(buckets):
        passed += buckets[bucket]
        if passed >= rank:
            return float(2 * GROWTH**bucket / (GROWTH + 1))
    raise AssertionError("a rank is at most the sum of the counts")

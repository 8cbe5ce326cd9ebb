"""What the default pipeline has to leave of spans in the database, calculated plainly from the spans.

A second opinion: written from docs/pipeline.md, with none of the project's code.
"""

import re

import polars as pl
import pyarrow as pa

KEPT_OVER_US = 1_000_000
CHOSEN_FROM = 0xFD70A3D70A3D71  # of the last 7 bytes of a trace id: one trace in a hundred
MINUTE_US = 60_000_000
_HEALTH_CHECK = re.compile(
    r"(?:[A-Z]+ )?/(?:health|healthz|_health|livez|readyz|ping|actuator/health|q/health)"
    r"(?:/live|/ready|/liveness|/readiness|/startup)?/?(?:\?.*)?"
)
_PATH = re.compile(r"(?:[A-Z]+ )?/")
_ID = re.compile(r"[0-9]+|[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[0-9a-fA-F]{16,}", re.ASCII)
_ROOT = ("started_at", "event_id", "service", "operation")


def counted(spans: pa.Table) -> pl.DataFrame:
    """The spans that count, under their normalised operations; times in µs since 1970.

    Columns: trace_id, event_id, parent_id (bytes), started_at, duration (int64), service, operation, status.
    """
    renamed = {"span_id": "event_id", "duration_us": "duration"}
    frame = pl.from_arrow(spans.drop_columns(["attributes"]))
    assert isinstance(frame, pl.DataFrame)
    frame = frame.rename(renamed).with_columns(pl.col("started_at").dt.cast_time_unit("us").cast(pl.Int64))
    names = frame["operation"].unique().to_list()
    plain = pl.DataFrame(
        {
            "operation": names,
            "plain": [None if _HEALTH_CHECK.fullmatch(name) else normalised(name) for name in names],
        },
        schema={"operation": pl.String, "plain": pl.String},
    )
    return (
        frame.join(plain, on="operation", how="left")
        .filter(pl.col("plain").is_not_null())
        .select(
            "trace_id", "event_id", "parent_id", "started_at", "duration", "service",
            pl.col("plain").alias("operation"), "status",
        )
    )  # fmt: skip


def normalised(operation: str) -> str:
    """The operation without query and ids when it is a path, as it is when not."""
    if not _PATH.match(operation):
        return operation
    first, *segments = re.split(r"[?#]", operation, maxsplit=1)[0].split("/")
    return "/".join([first, *("{id}" if _ID.fullmatch(segment) else segment for segment in segments)])[:1024]


def interactions(events: pl.DataFrame) -> pl.DataFrame:
    """One row a trace, of `counted` events."""
    whole = events.group_by("trace_id").agg(
        started_at=pl.col("started_at").min(),
        ended_at=(pl.col("started_at") + pl.col("duration")).max(),
        events=pl.len().cast(pl.Int64),
        errors=(pl.col("status") == "error").sum().cast(pl.Int64),
    )
    roots = (
        events.filter(pl.col("parent_id").is_null())
        .sort("trace_id", *_ROOT)
        .unique("trace_id", keep="first", maintain_order=True)
        .select("trace_id", *(pl.col(name).alias(f"root_{name}") for name in _ROOT))
    )
    status = pl.when(pl.col("errors") > 0).then(pl.lit("error")).otherwise(pl.lit("ok"))
    return whole.join(roots, on="trace_id", how="left").with_columns(
        status=status, user_id=pl.lit(None, dtype=pl.String)
    )


def rollups(events: pl.DataFrame) -> pl.DataFrame:
    """One row a minute (µs since 1970) × service × operation × status, of `counted` events."""
    return (
        events.with_columns(minute=_minute())
        .group_by("minute", "service", "operation", "status")
        .agg(
            count=pl.len().cast(pl.Int64),
            duration_sum=pl.col("duration").sum(),
            duration_min=pl.col("duration").min(),
            duration_max=pl.col("duration").max(),
        )
    )


def percentiles(events: pl.DataFrame) -> pl.DataFrame:
    """Exact p50, p95 and p99 (nearest rank) of the durations of each minute × service × operation."""
    rank = {percent: (pl.len() * percent + 99) // 100 - 1 for percent in (50, 95, 99)}
    exact = {f"p{percent}": pl.col("duration").sort().get(at.cast(pl.Int64)) for percent, at in rank.items()}
    return events.with_columns(minute=_minute()).group_by("minute", "service", "operation").agg(**exact)


def kept(events: pl.DataFrame) -> pl.DataFrame:
    """How often each event is kept one by one: those that failed, were slow, or are of a chosen trace."""
    ids = events["trace_id"].unique()
    chosen = [int.from_bytes(trace[-7:]) >= CHOSEN_FROM for trace in ids.to_list()]
    traces = pl.DataFrame({"trace_id": ids, "chosen": pl.Series(chosen, dtype=pl.Boolean)})
    wanted = (pl.col("status") == "error") | (pl.col("duration") > KEPT_OVER_US) | pl.col("chosen")
    return events.join(traces, on="trace_id").filter(wanted).pipe(copies)


def copies(events: pl.DataFrame) -> pl.DataFrame:
    """Equal rows as one with their number."""
    key = ("trace_id", "event_id", "parent_id", "started_at", "duration", "service", "operation", "status")
    return events.group_by(key).agg(copies=pl.len().cast(pl.Int64))


def _minute() -> pl.Expr:
    return pl.col("started_at") // MINUTE_US * MINUTE_US

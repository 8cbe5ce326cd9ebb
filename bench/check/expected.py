"""What the default pipeline has to leave of spans in the database, calculated plainly from the spans.

A second opinion: written from docs/pipeline.md, with none of the project's code.
"""

import json
import re
from collections.abc import Iterable

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
# The last word of a name, or the last before what is part of it, and words that say no more than it does.
_SAID = (
    r"(?:[-_.]?(?:[0-9]|base64|code|confirm|confirmation|current|data|digest|encoded|encrypted|hash|header|json|jwt"
    r"|key|new|old|pem|plain|raw|string|text|value))*"
)
_SECRET_KEY = re.compile(
    r"(?i)(?:passwords?|passwds?|passphrases?|secrets?|cookies?|credentials?|authorization"
    rf"|(?:api|private|secret|secret[-_.]?access)[-_.]?keys?){_SAID}[-_]*(?![-_a-z0-9])"
    rf"|(?:token|(?:access|api|auth|bearer|csrf|id|refresh|session|xsrf)[-_.]?tokens){_SAID}[^a-z0-9]*\Z",
)
_SECRET_VALUE = re.compile(
    r"(?i:\bbearer +[a-z0-9._~+/-]{8,})|\beyJ[A-Za-z0-9_-]+\.eyJ[A-Za-z0-9_-]+", re.ASCII
)
_PAIRS = pa.list_(pa.struct([("key", pa.string()), ("value", pa.string())]))
_ROOT = ("started_at", "event_id", "service", "operation")
_SAID_BY_OTLP = ("internal", "server", "client", "producer", "consumer")
_USERS = ("user.id", "enduser.id")  # the first that a span has


def counted(spans: pa.Table, *, otlp: bool = False) -> pl.DataFrame:
    """The spans that count, under their normalised operations; times in µs since 1970.

    `otlp`: they were sent as OTLP, which knows five kinds and takes the user from the attributes.

    Columns: trace_id, event_id, parent_id (bytes), started_at, duration (int64), service, operation, status,
    kind, user_id (text or null), attributes (list of key and value, as sent).
    """
    renamed = {"span_id": "event_id", "duration_us": "duration"}
    column = spans.schema.get_field_index("attributes")
    frame = pl.from_arrow(spans.set_column(column, "attributes", spans["attributes"].cast(_PAIRS)))
    assert isinstance(frame, pl.DataFrame)
    frame = frame.rename(renamed).with_columns(
        pl.col("started_at").dt.cast_time_unit("us").cast(pl.Int64),
        kind=_kind(otlp),
        user_id=pl.coalesce(*map(_attribute, _USERS)) if otlp else pl.lit(None, pl.String),
    )
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
            pl.col("plain").alias("operation"), "status", "kind", "user_id", "attributes",
        )
    )  # fmt: skip


def _kind(otlp: bool) -> pl.Expr:
    """In lower case; null where none is said that can be sent."""
    kind = pl.col("kind").str.to_lowercase()
    return pl.when(kind.is_in(_SAID_BY_OTLP)).then(kind) if otlp else kind


def _attribute(key: str) -> pl.Expr:
    """The last value under this key that is not empty, null where there is none."""
    pair = pl.element()
    named = (pair.struct.field("key") == key) & (pair.struct.field("value") != "")
    return pl.col("attributes").list.eval(pair.filter(named).struct.field("value")).list.last()


def normalised(operation: str) -> str:
    """The operation without query and ids when it is a path, as it is when not."""
    if not _PATH.match(operation):
        return operation
    first, *segments = re.split(r"[?#]", operation, maxsplit=1)[0].split("/")
    named = "/".join([first, *("{id}" if _ID.fullmatch(segment) else segment for segment in segments)])
    return named.encode()[:1_024].decode(errors="ignore")


def interactions(events: pl.DataFrame) -> pl.DataFrame:
    """One row a trace, of `counted` events."""
    whole = events.group_by("trace_id").agg(
        started_at=pl.col("started_at").min(),
        ended_at=(pl.col("started_at") + pl.col("duration")).max(),
        events=pl.len().cast(pl.Int64),
        errors=(pl.col("status") == "error").sum().cast(pl.Int64),
        user_id=pl.col("user_id").max(),
    )
    roots = (
        events.filter(pl.col("parent_id").is_null())
        .sort("trace_id", *_ROOT)
        .unique("trace_id", keep="first", maintain_order=True)
        .select("trace_id", *(pl.col(name).alias(f"root_{name}") for name in _ROOT))
    )
    status = pl.when(pl.col("errors") > 0).then(pl.lit("error")).otherwise(pl.lit("ok"))
    return whole.join(roots, on="trace_id", how="left").with_columns(status=status)


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
    """How often each event is kept one by one: those that failed, were slow, or are of a chosen trace.

    Their attributes as `canonical` text, secrets hidden.
    """
    ids = events["trace_id"].unique()
    chosen = [int.from_bytes(trace[-7:]) >= CHOSEN_FROM for trace in ids.to_list()]
    traces = pl.DataFrame({"trace_id": ids, "chosen": pl.Series(chosen, dtype=pl.Boolean)})
    wanted = (pl.col("status") == "error") | (pl.col("duration") > KEPT_OVER_US) | pl.col("chosen")
    rows = events.join(traces, on="trace_id").filter(wanted).drop("chosen")
    pairs = [[(pair["key"], pair["value"]) for pair in each or ()] for each in rows["attributes"].to_list()]
    texts = pl.Series("attributes", [canonical(redacted(each)) for each in pairs], dtype=pl.String)
    return copies(rows.with_columns(texts))


def redacted(pairs: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    """Attributes with their secrets hidden; of a key that is there twice the last, without those that say
    nothing.
    """
    return {
        key: "[redacted]" if _SECRET_KEY.search(key) or _SECRET_VALUE.search(value) else value
        for key, value in pairs
        if value is not None
    }


def canonical(attributes: dict[str, str]) -> str:
    """The same text for the same attributes in any order."""
    return json.dumps(attributes, ensure_ascii=False, sort_keys=True)


def copies(events: pl.DataFrame) -> pl.DataFrame:
    """Equal rows as one with their number."""
    return events.group_by(events.columns).agg(copies=pl.len().cast(pl.Int64))


def _minute() -> pl.Expr:
    return pl.col("started_at") // MINUTE_US * MINUTE_US

"""What the database holds of one customer, read with plain SQL into the shape of the calculated tables."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import cast

import polars as pl
from sqlalchemy import Connection, Engine, create_engine, text

from bench.check.expected import canonical

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
INTERACTIONS: Mapping[str, type[pl.DataType]] = {
    "trace_id": pl.Binary, "root_service": pl.String, "root_operation": pl.String, "root_event_id": pl.Binary,
    "root_started_at": pl.Int64, "user_id": pl.String, "started_at": pl.Int64, "ended_at": pl.Int64,
    "events": pl.Int64, "errors": pl.Int64, "status": pl.String,
}  # fmt: skip
ROLLUPS: Mapping[str, type[pl.DataType]] = {
    "minute": pl.Int64, "service": pl.String, "operation": pl.String, "status": pl.String, "count": pl.Int64,
    "duration_sum": pl.Int64, "duration_min": pl.Int64, "duration_max": pl.Int64, "histogram": pl.String,
}  # fmt: skip
EVENTS: Mapping[str, type[pl.DataType]] = {
    "trace_id": pl.Binary, "event_id": pl.Binary, "parent_id": pl.Binary, "started_at": pl.Int64,
    "duration": pl.Int64, "service": pl.String, "operation": pl.String, "status": pl.String,
    "kind": pl.String, "user_id": pl.String, "attributes": pl.String,
}  # fmt: skip
_TIMES = frozenset({"root_started_at", "started_at", "ended_at", "minute"})


def engine(database_url: str) -> Engine:
    """Of `sqlite:///file` or `postgresql://…`, which psycopg then serves."""
    scheme, _, rest = database_url.partition("://")
    named = "postgresql+psycopg" if scheme in ("postgres", "postgresql") else scheme
    return create_engine(f"{named}://{rest}")


def customer_id(conn: Connection, slug: str) -> int:
    """Raises LookupError for a customer that is not there."""
    found = conn.execute(
        text("SELECT id FROM customers WHERE slug = :slug"), {"slug": slug}
    ).scalar_one_or_none()
    if found is None:
        raise LookupError(f"the database has no customer {slug!r}")
    return int(found)


def interactions(conn: Connection, customer: int) -> pl.DataFrame:
    return _read(conn, "interactions", INTERACTIONS, customer)


def rollups(conn: Connection, customer: int) -> pl.DataFrame:
    """`histogram` is its JSON text."""
    return _read(conn, "rollups", ROLLUPS, customer)


def events(conn: Connection, customer: int) -> pl.DataFrame:
    """`attributes` are `canonical` text."""
    return _read(conn, "events", EVENTS, customer)


def _read(
    conn: Connection, table: str, columns: Mapping[str, type[pl.DataType]], customer: int
) -> pl.DataFrame:
    names = ", ".join("duration_us" if name == "duration" else name for name in columns)
    query = text(f"SELECT {names} FROM {table} WHERE customer_id = :customer")  # noqa: S608 - both are constants
    rows = conn.execute(query, {"customer": customer}).all()
    by_column = zip(*rows, strict=True) if rows else [()] * len(columns)
    return pl.DataFrame(
        [
            pl.Series(name, [_plain(name, value) for value in values], dtype=dtype)
            for (name, dtype), values in zip(columns.items(), by_column, strict=True)
        ]
    )


def _plain(name: str, value: object) -> object:
    """A time as µs since 1970, histogram and attributes as text, bytes as bytes, all else as it is."""
    if name in _TIMES and value is not None:
        when = datetime.fromisoformat(value) if isinstance(value, str) else value
        assert isinstance(when, datetime)
        aware = when if when.tzinfo else when.replace(tzinfo=UTC)
        return (aware - _EPOCH) // timedelta(microseconds=1)
    if name == "attributes":
        return canonical(
            json.loads(value) if isinstance(value, str) else dict(cast(Mapping[str, str], value))
        )
    if name == "histogram" and not isinstance(value, str):
        return json.dumps(value)
    return bytes(value) if isinstance(value, memoryview) else value

"""The tables, as the migrations leave them. Ledger times are µs since 1970, UTC; result times timestamps."""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from db.schema import Id, Timestamp, Word, metadata as metadata


def _id() -> Column[int]:
    return Column("id", Id, primary_key=True, autoincrement=True)


def _customer(*, key: bool = False, checked: bool = False) -> Column[int]:
    # Foreign keys only on small tables: the check costs more than the insert it guards.
    reference = [ForeignKey("customers.id")] if checked else []
    return Column("customer_id", BigInteger, *reference, primary_key=key, autoincrement=False, nullable=False)


def _count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


def _number(name: str, *, key: bool = False) -> Column[int]:
    return Column(name, BigInteger, primary_key=key, autoincrement=False, nullable=False)


def _word(name: str, *, key: bool = False, nullable: bool = False) -> Column[str]:
    return Column(name, Word, primary_key=key, nullable=nullable)


def _when(name: str, *, key: bool = False) -> Column[datetime]:
    return Column(name, Timestamp(), primary_key=key, nullable=False)


# An id that was given is never given again, even after its row is pruned: messages carry window ids.
_NEVER_REUSED: dict[str, Any] = {"sqlite_autoincrement": True}
# Not where keys are random: then rows are better appended, and only a small index is written all over.
_CLUSTERED: dict[str, Any] = {"sqlite_with_rowid": False}

customers = Table(
    "customers",
    metadata,
    _id(),
    Column("slug", Word, nullable=False, unique=True),
    _word("state"),
    *(Column(name, BigInteger) for name in ("events_per_second", "bytes_per_second")),
    *(Column(name, BigInteger) for name in ("batches_per_second", "concurrent_requests", "daily_bytes")),
    Column("pipeline_version", Integer, nullable=False, server_default=text("0")),
    Column("routes", JSON, nullable=False),
    Column("retention_days", Integer, nullable=False),
    _number("created_at"),
    _number("updated_at"),
    _word("breaker_reason", nullable=True),
    Column("breaker_opened_at", BigInteger),
    Column("failures_accepted_upto", BigInteger),
    **_NEVER_REUSED,
)

customer_keys = Table(
    "customer_keys",
    metadata,
    _id(),
    _customer(checked=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    _number("created_at"),
    Column("revoked_at", BigInteger),
    Index(None, "customer_id"),
)

pipelines = Table(
    "pipelines",
    metadata,
    _customer(key=True, checked=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("definition", Text, nullable=False),
    _number("created_at"),
)

# Lease, cursor and counts share a row so that a stale holder's write fails as a whole.
dispatch = Table(
    "dispatch",
    metadata,
    _customer(key=True, checked=True),
    _count("next_offset"),
    _count("epoch"),
    _count("beat"),
    _word("holder", nullable=True),
    _count("batches"),
    _count("duplicates"),
    _count("reused"),
    _count("discarded"),
    _count("expired"),
    _count("generation"),
)

windows = Table(
    "windows",
    metadata,
    _id(),
    _customer(),
    _number("first_offset"),
    _number("last_offset"),
    Column("skipped", JSON, nullable=False),
    Column("batches", Integer, nullable=False),
    _number("bytes"),
    Column("pipeline_version", Integer, nullable=False),
    _word("state"),
    Column("parent_id", BigInteger),
    _number("created_at"),
    _number("rung_at"),
    Column("rings", Integer, nullable=False, server_default=text("0")),
    Column("deliveries", Integer, nullable=False, server_default=text("0")),
    _number("token"),
    _number("first_accepted_at"),
    _number("last_accepted_at"),
    Column("deposited_at", BigInteger),
    *(Column(name, BigInteger) for name in ("decoded", "kept", "dropped", "rejected", "quarantined")),
    Column("deaths", Integer, nullable=False, server_default=text("0")),
    Column("cause", Text),
    Column("tried_by", Text),
    Column("failures", JSON(none_as_null=True)),
    Index(None, "customer_id", "id"),
    Index(None, "deposited_at"),
    # Open windows are few among millions; the condition is a literal so that the planner can match it.
    Index(
        "ix_windows_open",
        "customer_id",
        postgresql_where=text("state = 'dispatched'"),
        sqlite_where=text("state = 'dispatched'"),
    ),
    **_NEVER_REUSED,
)

batches = Table(
    "batches",
    metadata,
    _customer(key=True),
    _word("batch_id", key=True),
    Column("digest", LargeBinary, nullable=False),
    _number("first_offset"),
    Column("window_id", BigInteger),
    _number("accepted_at"),
    _word("state"),
    Index(None, "window_id"),
    Index(None, "customer_id", "accepted_at"),
)

deposits = Table("deposits", metadata, _customer(key=True, checked=True), _count("next_offset"))

# What the books need of rows that are no longer read one by one, or no longer there.
# pruned_*: the events, or quarantined batches, that deleted rows stood for. quarantine_pruned_below: the
# offset after the highest one of a whole batch that is not in quarantine any more.
folded = Table(
    "folded",
    metadata,
    _customer(key=True, checked=True),
    *map(_count, ("upto_window_id", "windows", "batches", "decoded", "kept", "dropped", "rejected")),
    *map(_count, ("quarantined", "pruned_interactions", "pruned_rollups", "pruned_events")),
    *map(_count, ("pruned_quarantined_batches", "pruned_quarantined_events", "quarantine_pruned_below")),
)

quarantine = Table(
    "quarantine",
    metadata,
    _id(),
    _customer(),
    Column("window_id", BigInteger),
    _number("stream_offset"),
    _word("batch_id"),
    Column("row", Integer),
    _word("reason"),
    Column("detail", Text, nullable=False),
    _word("format"),
    _word("content_encoding"),
    _number("accepted_at"),
    Column("bytes", LargeBinary, nullable=False),
    _number("created_at"),
    _word("state"),
    _word("replayed_as", nullable=True),
    Column("replayed_at", BigInteger),
    Index(None, "customer_id", "batch_id"),
    Index(None, "customer_id", "state", "reason"),
    Index(None, "customer_id", "replayed_as"),
    Index(None, "customer_id", "created_at"),
    **_NEVER_REUSED,
)

# Who did what about a quarantined row, and why; goes when the row does.
quarantine_notes = Table(
    "quarantine_notes",
    metadata,
    _id(),
    _customer(),
    _number("quarantine_id"),
    _word("act"),
    _word("who"),
    Column("why", Text, nullable=False),
    _number("noted_at"),
    Index(None, "quarantine_id"),
    **_NEVER_REUSED,
)

interactions = Table(
    "interactions",
    metadata,
    _customer(key=True),
    Column("trace_id", LargeBinary, primary_key=True),
    _word("root_service", nullable=True),
    _word("root_operation", nullable=True),
    Column("root_event_id", LargeBinary),
    Column("root_started_at", Timestamp()),
    _word("user_id", nullable=True),
    _when("started_at"),
    _when("ended_at"),
    _number("events"),
    _number("errors"),
    _word("status"),
    Index(None, "customer_id", "started_at"),
)

rollups = Table(
    "rollups",
    metadata,
    _customer(key=True),
    _when("minute", key=True),
    _word("service", key=True),
    _word("operation", key=True),
    _word("status", key=True),
    _number("count"),
    _number("duration_sum"),
    _number("duration_min"),
    _number("duration_max"),
    Column("histogram", JSON, nullable=False),
    postgresql_partition_by="RANGE (minute)",
    **_CLUSTERED,
)

events = Table(
    "events",
    metadata,
    _customer(key=True),
    _when("started_at", key=True),
    _number("window_id", key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("event_id", LargeBinary, nullable=False),
    Column("trace_id", LargeBinary, nullable=False),
    Column("parent_id", LargeBinary),
    _number("duration_us"),
    _word("service"),
    _word("operation"),
    _word("kind", nullable=True),
    _word("status"),
    Column("status_message", Text),
    _word("user_id", nullable=True),
    Column("attributes", JSON().with_variant(JSONB(), "postgresql"), nullable=False),
    Index(None, "customer_id", "trace_id"),
    postgresql_partition_by="RANGE (started_at)",
)

usage = Table(
    "usage",
    metadata,
    _customer(key=True),
    _number("day", key=True),
    _word("receiver", key=True),
    _number("bytes"),
    **_CLUSTERED,
)

workers = Table(
    "workers",
    metadata,
    _word("name", key=True),
    Column("queues", JSON, nullable=False),
    Column("dedicated", Boolean, nullable=False),
    _count("processes"),
    _number("seen_at"),
)

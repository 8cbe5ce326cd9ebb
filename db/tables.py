"""The tables, as the migrations leave them. Ledger times are µs since 1970, UTC; result times timestamps."""

from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, Index, Integer, LargeBinary, Table, Text, text
from sqlalchemy.dialects.postgresql import JSONB

from db.customers.tables import (
    customer_keys as customer_keys,
    customer_notes as customer_notes,
    customers as customers,
    left_queues as left_queues,
    pipelines as pipelines,
    public_key_use as public_key_use,
    public_keys as public_keys,
    usage as usage,
)
from db.log_tables import log_rollups as log_rollups, logs as logs
from db.schema import (
    CLUSTERED,
    NEVER_REUSED,
    Timestamp,
    count,
    customer,
    id_column,
    metadata as metadata,
    number,
    when,
    word,
)


def _where(condition: str) -> dict[str, Any]:
    """What makes an index partial on both."""
    return {"postgresql_where": text(condition), "sqlite_where": text(condition)}


# Lease, cursor and counts share a row so that a stale holder's write fails as a whole.
dispatch = Table(
    "dispatch",
    metadata,
    customer(key=True, checked=True),
    count("next_offset"),
    count("epoch"),
    count("beat"),
    word("holder", nullable=True),
    count("batches"),
    count("duplicates"),
    count("reused"),
    count("discarded"),
    count("expired"),
    count("generation"),
    # The fingerprint of the message before `next_offset`; null where none was booked yet.
    Column("edge", LargeBinary),
    # Where the generation began: batches - base_batches = next_offset - base_offset.
    count("base_offset"),
    count("base_batches"),
)

# Each time that a raw stream turned out not to be the one that was read: see `db.ledger.generations`.
generations = Table(
    "generations",
    metadata,
    customer(key=True, checked=True),
    number("generation", key=True),
    word("kind"),
    *map(number, ("from_offset", "cursor_before", "expired", "began_at")),
)

windows = Table(
    "windows",
    metadata,
    id_column(),
    customer(),
    number("first_offset"),
    number("last_offset"),
    Column("skipped", JSON, nullable=False),
    Column("batches", Integer, nullable=False),
    number("bytes"),
    Column("pipeline_version", Integer, nullable=False),
    word("state"),
    Column("parent_id", BigInteger),
    number("created_at"),
    number("rung_at"),
    Column("rings", Integer, nullable=False, server_default=text("0")),
    Column("deliveries", Integer, nullable=False, server_default=text("0")),
    number("token"),
    number("first_accepted_at"),
    number("last_accepted_at"),
    Column("deposited_at", BigInteger),
    *(Column(name, BigInteger) for name in ("decoded", "kept", "dropped", "rejected", "quarantined")),
    Column("kept_logs", BigInteger),  # among the kept
    Column("deaths", Integer, nullable=False, server_default=text("0")),
    Column("cause", Text),
    Column("tried_by", Text),
    Column("failures", JSON(none_as_null=True)),
    count("generation"),
    Column("fingerprints", LargeBinary),
    Index(None, "customer_id", "id"),
    Index(None, "deposited_at"),
    # Open windows are few among millions; the condition is a literal so that the planner can match it.
    Index("ix_windows_open", "customer_id", **_where("state = 'dispatched'")),
    # So are the parts of split windows, the only ones whose ids are not in the order of their offsets.
    Index("ix_windows_parts", "customer_id", "first_offset", **_where("parent_id IS NOT NULL")),
    **NEVER_REUSED,
)

batches = Table(
    "batches",
    metadata,
    customer(key=True),
    word("batch_id", key=True),
    Column("digest", LargeBinary, nullable=False),
    number("first_offset"),
    Column("window_id", BigInteger),
    number("accepted_at"),
    word("state"),
    Column("booked_at", BigInteger),
    Index(None, "window_id"),
    Index(None, "customer_id", "accepted_at"),
)

deposits = Table("deposits", metadata, customer(key=True, checked=True), count("next_offset"))

# What the books need of rows that are no longer read one by one, or no longer there.
# pruned_*: the events, or quarantined batches, that deleted rows stood for. quarantine_pruned_below: the
# offset after the highest one of a whole batch that is not in quarantine any more.
folded = Table(
    "folded",
    metadata,
    customer(key=True, checked=True),
    *map(count, ("upto_window_id", "windows", "batches", "decoded", "kept", "dropped", "rejected")),
    *map(count, ("quarantined", "pruned_interactions", "pruned_rollups", "pruned_events")),
    *map(count, ("pruned_quarantined_batches", "pruned_quarantined_events", "quarantine_pruned_below")),
    *map(count, ("pruned_exceptions", "pruned_split_rollups")),
    *map(count, ("kept_logs", "pruned_logs", "pruned_log_rollups")),
)

quarantine = Table(
    "quarantine",
    metadata,
    id_column(),
    customer(),
    Column("window_id", BigInteger),
    number("stream_offset"),
    word("batch_id"),
    Column("row", Integer),
    word("reason"),
    Column("detail", Text, nullable=False),
    word("format"),
    word("content_encoding"),
    number("accepted_at"),
    Column("bytes", LargeBinary, nullable=False),
    number("created_at"),
    word("state"),
    word("replayed_as", nullable=True),
    Column("replayed_at", BigInteger),
    # How many bytes are not kept, since they were over the day's budget, and their digest; else null.
    Column("withheld", BigInteger),
    word("sha256", nullable=True),
    Index(None, "customer_id", "batch_id"),
    Index(None, "customer_id", "state", "reason"),
    Index(None, "customer_id", "replayed_as"),
    Index(None, "customer_id", "created_at"),
    **NEVER_REUSED,
)

# Of windows deposited in a period of ten minutes, counted from 1970.
costs = Table(
    "costs",
    metadata,
    number("period", key=True),
    customer(key=True),
    *map(count, ("windows", "batches", "events", "bytes", "processor_us")),
    **CLUSTERED,
)

# What came into quarantine on a day, and what was over the day's budget.
quarantine_days = Table(
    "quarantine_days",
    metadata,
    customer(key=True),
    number("day", key=True),
    *map(count, ("bytes", "withheld", "withheld_bytes")),
    **CLUSTERED,
)

# Who did what about a quarantined row, and why; goes when the row does.
quarantine_notes = Table(
    "quarantine_notes",
    metadata,
    id_column(),
    customer(),
    number("quarantine_id"),
    word("act"),
    word("who"),
    Column("why", Text, nullable=False),
    number("noted_at"),
    Index(None, "quarantine_id"),
    **NEVER_REUSED,
)

interactions = Table(
    "interactions",
    metadata,
    customer(key=True),
    Column("trace_id", LargeBinary, primary_key=True),
    word("root_service", nullable=True),
    word("root_operation", nullable=True),
    Column("root_event_id", LargeBinary),
    Column("root_started_at", Timestamp()),
    word("user_id", nullable=True),
    when("started_at"),
    when("ended_at"),
    *map(number, ("events", "errors")),
    word("status"),
    Column("exception_at", Timestamp()),
    Column("exception_event_id", LargeBinary),
    *(word(f"exception_{name}", nullable=True) for name in ("fingerprint", "type", "message")),
    *map(count, ("logs", "log_errors")),
    Index(None, "customer_id", "started_at"),
)

rollups = Table(
    "rollups",
    metadata,
    customer(key=True),
    when("minute", key=True),
    word("service", key=True),
    word("operation", key=True),
    word("status", key=True),
    *map(number, ("count", "duration_sum", "duration_min", "duration_max")),
    Column("histogram", JSON, nullable=False),
    postgresql_partition_by="RANGE (minute)",
    **CLUSTERED,
)

split_rollups = Table(
    "split_rollups",
    metadata,
    customer(key=True),
    when("minute", key=True),
    *(word(name, key=True) for name in ("environment", "version", "service", "operation", "status")),
    *map(number, ("count", "duration_sum", "duration_min", "duration_max")),
    Column("histogram", JSON, nullable=False),
    postgresql_partition_by="RANGE (minute)",
    **CLUSTERED,
)

exceptions = Table(
    "exceptions",
    metadata,
    customer(key=True),
    when("minute", key=True),
    word("service", key=True),
    word("fingerprint", key=True),
    *map(word, ("type", "message")),
    *(number("count"), when("first_seen"), when("last_seen")),
    postgresql_partition_by="RANGE (minute)",
    **CLUSTERED,
)

events = Table(
    "events",
    metadata,
    customer(key=True),
    when("started_at", key=True),
    number("window_id", key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("event_id", LargeBinary, nullable=False),
    Column("trace_id", LargeBinary, nullable=False),
    Column("parent_id", LargeBinary),
    number("duration_us"),
    word("service"),
    word("operation"),
    word("kind", nullable=True),
    word("status"),
    Column("status_message", Text),
    word("user_id", nullable=True),
    Column("attributes", JSON().with_variant(JSONB(), "postgresql"), nullable=False),
    # JSON as `tasks.events.details` writes it, to the letter: JSONB writes numbers anew.
    Column("trace_state", Text),
    Column("flags", BigInteger),
    *(
        Column(name, JSON(none_as_null=True))
        for name in ("resource", "scope", "span", "span_events", "links")
    ),
    Index(None, "customer_id", "trace_id"),
    postgresql_partition_by="RANGE (started_at)",
)

workers = Table(
    "workers",
    metadata,
    word("name", key=True),
    Column("queues", JSON, nullable=False),
    Column("dedicated", Boolean, nullable=False),
    count("processes"),
    number("seen_at"),
)

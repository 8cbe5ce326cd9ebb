"""The tables of log records and of their roll-ups."""

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, LargeBinary, Table
from sqlalchemy.dialects.postgresql import JSONB

from db.schema import CLUSTERED, customer, metadata, number, when, word

DOCUMENT = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")

# Of the JSON columns `tasks.events.log_schema` says what they hold.
logs = Table(
    "logs",
    metadata,
    customer(key=True),
    when("at", key=True),
    number("window_id", key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("time_ns", BigInteger),
    Column("observed_ns", BigInteger),
    Column("severity_number", Integer, nullable=False),
    word("severity_text", nullable=True),
    word("service"),
    word("event_name", nullable=True),
    Column("body", DOCUMENT),
    Column("attributes", DOCUMENT, nullable=False),
    number("dropped_attributes"),
    Column("scope", DOCUMENT),
    Column("resource", DOCUMENT, nullable=False),
    Column("trace_id", LargeBinary),
    Column("span_id", LargeBinary),
    number("flags"),
    Index(None, "customer_id", "trace_id"),
    postgresql_partition_by="RANGE (at)",
)

log_rollups = Table(
    "log_rollups",
    metadata,
    customer(key=True),
    when("minute", key=True),
    word("service", key=True),
    word("severity", key=True),
    number("count"),
    postgresql_partition_by="RANGE (minute)",
    **CLUSTERED,
)

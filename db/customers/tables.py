"""The tables of customers, which `db.tables` has with all the others."""

from sqlalchemy import JSON, BigInteger, Column, Index, Integer, LargeBinary, Table, Text, text

from db.schema import CLUSTERED, NEVER_REUSED, count, customer, id_column, metadata, number, word

customers = Table(
    "customers",
    metadata,
    id_column(),
    word("slug", unique=True),
    word("state"),
    *(Column(name, BigInteger) for name in ("events_per_second", "bytes_per_second")),
    *(Column(name, BigInteger) for name in ("batches_per_second", "concurrent_requests", "daily_bytes")),
    Column("pipeline_version", Integer, nullable=False, server_default=text("0")),
    Column("routes", JSON, nullable=False),
    Column("retention_days", Integer, nullable=False),
    number("created_at"),
    number("updated_at"),
    word("breaker_reason", nullable=True),
    Column("breaker_opened_at", BigInteger),
    Column("failures_accepted_upto", BigInteger),
    Column("quarantine_daily_bytes", BigInteger),
    count("rings_asked"),
    *(Column(name, Integer) for name in ("quarantine_days", "remember_days")),
    **NEVER_REUSED,
)

# What operators did about a customer; stays when the customer is deleted, whose id it names all the same.
customer_notes = Table(
    "customer_notes",
    metadata,
    id_column(),
    customer(),
    *map(word, ("slug", "act", "who")),
    Column("why", Text, nullable=False),
    Column("detail", JSON, nullable=False),
    number("noted_at"),
    Column("ended_at", BigInteger),
    Index(None, "slug"),
    **NEVER_REUSED,
)

customer_keys = Table(
    "customer_keys",
    metadata,
    id_column(),
    customer(checked=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    number("created_at"),
    Column("revoked_at", BigInteger),
    Index(None, "customer_id"),
)

left_queues = Table(
    "left_queues",
    metadata,
    customer(key=True, checked=True),
    word("name", key=True),
    number("left_at"),
)

pipelines = Table(
    "pipelines",
    metadata,
    customer(key=True, checked=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("definition", Text, nullable=False),
    number("created_at"),
)

usage = Table(
    "usage",
    metadata,
    customer(key=True),
    number("day", key=True),
    word("receiver", key=True),
    number("bytes"),
    **CLUSTERED,
)

# What stands in pages and apps is no secret, and can be shown again.
public_keys = Table(
    "public_keys",
    metadata,
    id_column(),
    customer(checked=True),
    Column("digest", LargeBinary, nullable=False, unique=True),
    word("key"),
    Column("origins", JSON, nullable=False),
    Column("apps", JSON, nullable=False),
    *(Column(name, BigInteger) for name in ("bytes_a_day", "batches_a_day", "requests_a_minute")),
    Column("events_a_day", BigInteger),
    Column("expires_at", BigInteger),
    number("created_at"),
    Column("revoked_at", BigInteger),
    Index(None, "customer_id"),
    **NEVER_REUSED,
)

public_key_use = Table(
    "public_key_use",
    metadata,
    number("key_id", key=True),
    number("day", key=True),
    word("receiver", key=True),
    customer(),
    *map(number, ("bytes", "batches", "refused")),
    count("events"),
    Index(None, "customer_id"),
    **CLUSTERED,
)

"""The ledger and the results.

Revision: 0001, the first
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# Byte order, as Arrow and Python compare.
WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
WHEN = sa.DateTime(timezone=True)
DOCUMENT = sa.JSON().with_variant(JSONB(), "postgresql")
BIG = sa.BigInteger()


def required(name: str, kind: Any, default: str | None = None) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=False, server_default=None if default is None else sa.text(default))


def optional(name: str, kind: Any) -> sa.Column[Any]:
    return sa.Column(name, kind, nullable=True)


def identity() -> sa.Column[Any]:
    return sa.Column("id", ID, autoincrement=True, nullable=False)


def counts(*names: str) -> list[sa.Column[Any]]:
    return [required(name, BIG, "0") for name in names]


def create(name: str, *parts: Any, key: list[str], **options: Any) -> None:
    op.create_table(name, *parts, sa.PrimaryKeyConstraint(*key, name=f"pk_{name}"), **options)


def of_customer(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["customer_id"], ["customers.id"], name=f"fk_{table}_customer_id_customers"
    )


def upgrade() -> None:
    create_customers()
    create_cursors()
    create_windows()
    create_batches()
    create_quarantine()
    create_results()
    create(
        "workers",
        required("name", WORD),
        required("queues", sa.JSON()),
        required("dedicated", sa.Boolean()),
        required("seen_at", BIG),
        key=["name"],
    )


def create_customers() -> None:
    create(
        "customers",
        identity(),
        required("slug", WORD),
        required("state", WORD),
        optional("events_per_second", BIG),
        optional("bytes_per_second", BIG),
        required("pipeline_version", sa.Integer(), "0"),
        required("routes", sa.JSON()),
        required("retention_days", sa.Integer()),
        required("created_at", BIG),
        required("updated_at", BIG),
        sa.UniqueConstraint("slug", name="uq_customers_slug"),
        key=["id"],
        sqlite_autoincrement=True,
    )
    create(
        "customer_keys",
        identity(),
        required("customer_id", BIG),
        required("digest", sa.LargeBinary()),
        required("created_at", BIG),
        optional("revoked_at", BIG),
        of_customer("customer_keys"),
        sa.UniqueConstraint("digest", name="uq_customer_keys_digest"),
        key=["id"],
        sqlite_autoincrement=True,
    )
    op.create_index("ix_customer_keys_customer_id", "customer_keys", ["customer_id"])
    create(
        "pipelines",
        required("customer_id", BIG),
        required("version", sa.Integer()),
        required("definition", sa.Text()),
        required("created_at", BIG),
        of_customer("pipelines"),
        key=["customer_id", "version"],
    )


def create_cursors() -> None:
    create(
        "dispatch",
        required("customer_id", BIG),
        *counts("next_offset", "epoch", "beat"),
        optional("holder", WORD),
        *counts("batches", "duplicates", "reused", "discarded", "expired", "generation"),
        of_customer("dispatch"),
        key=["customer_id"],
    )
    create(
        "deposits",
        required("customer_id", BIG),
        *counts("next_offset"),
        of_customer("deposits"),
        key=["customer_id"],
    )
    create(
        "folded",
        required("customer_id", BIG),
        *counts(
            "upto_window_id", "windows", "batches", "decoded", "kept", "dropped", "rejected", "quarantined"
        ),
        *counts("pruned_interactions", "pruned_rollups", "pruned_events"),
        of_customer("folded"),
        key=["customer_id"],
    )


def create_windows() -> None:
    create(
        "windows",
        identity(),
        *(required(name, BIG) for name in ("customer_id", "first_offset", "last_offset")),
        required("skipped", sa.JSON()),
        required("batches", sa.Integer()),
        required("bytes", BIG),
        required("pipeline_version", sa.Integer()),
        required("state", WORD),
        optional("parent_id", BIG),
        required("created_at", BIG),
        required("rung_at", BIG),
        required("rings", sa.Integer(), "0"),
        required("deliveries", sa.Integer(), "0"),
        required("token", BIG),
        required("first_accepted_at", BIG),
        required("last_accepted_at", BIG),
        *(
            optional(name, BIG)
            for name in ("deposited_at", "decoded", "kept", "dropped", "rejected", "quarantined")
        ),
        key=["id"],
        sqlite_autoincrement=True,
    )
    op.create_index("ix_windows_customer_id_id", "windows", ["customer_id", "id"])
    op.create_index("ix_windows_deposited_at", "windows", ["deposited_at"])
    is_open = sa.text("state = 'dispatched'")
    op.create_index(
        "ix_windows_open", "windows", ["customer_id"], postgresql_where=is_open, sqlite_where=is_open
    )


def create_batches() -> None:
    create(
        "batches",
        required("customer_id", BIG),
        required("batch_id", WORD),
        required("digest", sa.LargeBinary()),
        required("first_offset", BIG),
        optional("window_id", BIG),
        required("accepted_at", BIG),
        required("state", WORD),
        key=["customer_id", "batch_id"],
    )
    op.create_index("ix_batches_window_id", "batches", ["window_id"])
    op.create_index("ix_batches_customer_id_accepted_at", "batches", ["customer_id", "accepted_at"])


def create_quarantine() -> None:
    create(
        "quarantine",
        identity(),
        required("customer_id", BIG),
        optional("window_id", BIG),
        required("stream_offset", BIG),
        required("batch_id", WORD),
        optional("row", sa.Integer()),
        required("reason", WORD),
        required("detail", sa.Text()),
        required("format", WORD),
        required("content_encoding", WORD),
        required("accepted_at", BIG),
        required("bytes", sa.LargeBinary()),
        required("created_at", BIG),
        required("state", WORD),
        key=["id"],
        sqlite_autoincrement=True,
    )
    op.create_index("ix_quarantine_customer_id_batch_id", "quarantine", ["customer_id", "batch_id"])
    op.create_index(
        "ix_quarantine_customer_id_state_reason", "quarantine", ["customer_id", "state", "reason"]
    )


def create_results() -> None:
    create(
        "interactions",
        required("customer_id", BIG),
        required("trace_id", sa.LargeBinary()),
        optional("root_service", WORD),
        optional("root_operation", WORD),
        optional("root_event_id", sa.LargeBinary()),
        optional("root_started_at", WHEN),
        optional("user_id", WORD),
        required("started_at", WHEN),
        required("ended_at", WHEN),
        required("events", BIG),
        required("errors", BIG),
        required("status", WORD),
        key=["customer_id", "trace_id"],
    )
    op.create_index("ix_interactions_customer_id_started_at", "interactions", ["customer_id", "started_at"])
    create(
        "rollups",
        required("customer_id", BIG),
        required("minute", WHEN),
        *(required(name, WORD) for name in ("service", "operation", "status")),
        *(required(name, BIG) for name in ("count", "duration_sum", "duration_min", "duration_max")),
        required("histogram", sa.JSON()),
        key=["customer_id", "minute", "service", "operation", "status"],
        postgresql_partition_by="RANGE (minute)",
        sqlite_with_rowid=False,
    )
    create(
        "events",
        required("customer_id", BIG),
        required("started_at", WHEN),
        required("window_id", BIG),
        required("position", sa.Integer()),
        required("event_id", sa.LargeBinary()),
        required("trace_id", sa.LargeBinary()),
        optional("parent_id", sa.LargeBinary()),
        required("duration_us", BIG),
        required("service", WORD),
        required("operation", WORD),
        optional("kind", WORD),
        required("status", WORD),
        optional("status_message", sa.Text()),
        optional("user_id", WORD),
        required("attributes", DOCUMENT),
        key=["customer_id", "started_at", "window_id", "position"],
        postgresql_partition_by="RANGE (started_at)",
    )
    op.create_index("ix_events_customer_id_trace_id", "events", ["customer_id", "trace_id"])
    if op.get_context().dialect.name == "postgresql":
        # What is older than the retention, or far ahead, must land somewhere.
        op.execute("CREATE TABLE rollups_default PARTITION OF rollups DEFAULT")
        op.execute("CREATE TABLE events_default PARTITION OF events DEFAULT")


def downgrade() -> None:
    for table in (
        *("workers", "events", "rollups", "interactions", "quarantine", "batches", "windows"),
        *("folded", "deposits", "dispatch", "pipelines", "customer_keys", "customers"),
    ):
        op.drop_table(table)

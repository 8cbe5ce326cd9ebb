"""Log records, their roll-ups, and what interactions and the books know of them.

Revision: 0016, after 0015
"""

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
WHEN = sa.DateTime(timezone=True)
BIG = sa.BigInteger()
DOCUMENT = sa.JSON().with_variant(JSONB(), "postgresql")
COUNTS = (
    *(("interactions", "logs"), ("interactions", "log_errors")),
    *(("folded", "kept_logs"), ("folded", "pruned_logs"), ("folded", "pruned_log_rollups")),
)


def upgrade() -> None:
    op.add_column("windows", sa.Column("kept_logs", BIG))
    for table, name in COUNTS:
        op.add_column(table, sa.Column(name, BIG, nullable=False, server_default=sa.text("0")))
    create_logs()
    create_log_rollups()
    if op.get_context().dialect.name == "postgresql":
        # What is older than the retention, or far ahead, must land somewhere.
        op.execute("CREATE TABLE logs_default PARTITION OF logs DEFAULT")
        op.execute("CREATE TABLE log_rollups_default PARTITION OF log_rollups DEFAULT")


def required(name: str, of: Any) -> sa.Column[Any]:
    return sa.Column(name, of, nullable=False, autoincrement=False)


def create_logs() -> None:
    op.create_table(
        "logs",
        required("customer_id", BIG),
        required("at", WHEN),
        required("window_id", BIG),
        required("position", sa.Integer()),
        sa.Column("time_ns", BIG),
        sa.Column("observed_ns", BIG),
        required("severity_number", sa.Integer()),
        sa.Column("severity_text", WORD),
        required("service", WORD),
        sa.Column("event_name", WORD),
        sa.Column("body", DOCUMENT),
        required("attributes", DOCUMENT),
        required("dropped_attributes", BIG),
        sa.Column("scope", DOCUMENT),
        required("resource", DOCUMENT),
        sa.Column("trace_id", sa.LargeBinary()),
        sa.Column("span_id", sa.LargeBinary()),
        required("flags", BIG),
        sa.PrimaryKeyConstraint("customer_id", "at", "window_id", "position", name="pk_logs"),
        postgresql_partition_by="RANGE (at)",
    )
    op.create_index("ix_logs_customer_id_trace_id", "logs", ["customer_id", "trace_id"])


def create_log_rollups() -> None:
    op.create_table(
        "log_rollups",
        required("customer_id", BIG),
        required("minute", WHEN),
        required("service", WORD),
        required("severity", WORD),
        required("count", BIG),
        sa.PrimaryKeyConstraint("customer_id", "minute", "service", "severity", name="pk_log_rollups"),
        postgresql_partition_by="RANGE (minute)",
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("log_rollups")
    op.drop_table("logs")
    for table, name in reversed(COUNTS):
        op.drop_column(table, name)
    op.drop_column("windows", "kept_logs")

"""Exceptions, the first one of each interaction, and rollups split by environment and version.

Revision: 0015, after 0014
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
WHEN = sa.DateTime(timezone=True)
BIG = sa.BigInteger()
FIRST = (
    ("exception_at", WHEN),
    ("exception_event_id", sa.LargeBinary()),
    ("exception_fingerprint", WORD),
    ("exception_type", WORD),
    ("exception_message", WORD),
)

PRUNED = ("pruned_exceptions", "pruned_split_rollups")
SPLIT_BY = ("environment", "version", "service", "operation", "status")


def upgrade() -> None:
    for name, kind in FIRST:
        op.add_column("interactions", sa.Column(name, kind))
    for name in PRUNED:
        op.add_column("folded", sa.Column(name, BIG, nullable=False, server_default=sa.text("0")))
    op.create_table(
        "exceptions",
        sa.Column("customer_id", BIG, autoincrement=False, nullable=False),
        sa.Column("minute", WHEN, nullable=False),
        *(sa.Column(name, WORD, nullable=False) for name in ("service", "fingerprint", "type", "message")),
        sa.Column("count", BIG, nullable=False),
        *(sa.Column(name, WHEN, nullable=False) for name in ("first_seen", "last_seen")),
        sa.PrimaryKeyConstraint("customer_id", "minute", "service", "fingerprint", name="pk_exceptions"),
        postgresql_partition_by="RANGE (minute)",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "split_rollups",
        sa.Column("customer_id", BIG, autoincrement=False, nullable=False),
        sa.Column("minute", WHEN, nullable=False),
        *(sa.Column(name, WORD, nullable=False) for name in SPLIT_BY),
        *(
            sa.Column(name, BIG, nullable=False)
            for name in ("count", "duration_sum", "duration_min", "duration_max")
        ),
        sa.Column("histogram", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "minute", *SPLIT_BY, name="pk_split_rollups"),
        postgresql_partition_by="RANGE (minute)",
        sqlite_with_rowid=False,
    )
    if op.get_context().dialect.name == "postgresql":
        # What is older than the retention, or far ahead, must land somewhere.
        op.execute("CREATE TABLE exceptions_default PARTITION OF exceptions DEFAULT")
        op.execute("CREATE TABLE split_rollups_default PARTITION OF split_rollups DEFAULT")


def downgrade() -> None:
    op.drop_table("split_rollups")
    op.drop_table("exceptions")
    for name in reversed(PRUNED):
        op.drop_column("folded", name)
    for name, _ in reversed(FIRST):
        op.drop_column("interactions", name)

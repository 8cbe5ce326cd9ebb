"""Limits at the receiver, and what counts against a daily quota.

Revision: 0005, after 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

LIMITS = ("batches_per_second", "concurrent_requests", "daily_bytes")
WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    for name in LIMITS:
        op.add_column("customers", sa.Column(name, sa.BigInteger(), nullable=True))
    op.create_table(
        "usage",
        sa.Column("customer_id", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("day", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("receiver", WORD, nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "day", "receiver", name="pk_usage"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("usage")
    for name in reversed(LIMITS):
        op.drop_column("customers", name)

"""What each customer's windows cost, by periods of ten minutes.

Revision: 0012, after 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

BIG = sa.BigInteger()
COUNTS = ("windows", "batches", "events", "bytes", "processor_us")


def upgrade() -> None:
    op.create_table(
        "costs",
        sa.Column("period", BIG, autoincrement=False, nullable=False),
        sa.Column("customer_id", BIG, autoincrement=False, nullable=False),
        *(sa.Column(name, BIG, nullable=False, server_default=sa.text("0")) for name in COUNTS),
        sa.PrimaryKeyConstraint("period", "customer_id", name="pk_costs"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("costs")

"""What a customer's quarantine may take a day, and rows whose bytes are in the raw stream only.

Revision: 0009, after 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
BIG = sa.BigInteger()
COUNTS = ("bytes", "withheld", "withheld_bytes")


def upgrade() -> None:
    op.add_column("customers", sa.Column("quarantine_daily_bytes", BIG))
    op.add_column("quarantine", sa.Column("withheld", BIG))
    op.add_column("quarantine", sa.Column("sha256", WORD))
    op.create_table(
        "quarantine_days",
        sa.Column("customer_id", BIG, autoincrement=False, nullable=False),
        sa.Column("day", BIG, autoincrement=False, nullable=False),
        *(sa.Column(name, BIG, nullable=False, server_default=sa.text("0")) for name in COUNTS),
        sa.PrimaryKeyConstraint("customer_id", "day", name="pk_quarantine_days"),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("quarantine_days")
    op.drop_column("quarantine", "sha256")
    op.drop_column("quarantine", "withheld")
    op.drop_column("customers", "quarantine_daily_bytes")

"""What operators did about a customer, with who and why, and how long its own rows are kept.

Revision: 0011, after 0010
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
BIG = sa.BigInteger()
ID = BIG.with_variant(sa.Integer(), "sqlite")
DAYS = ("quarantine_days", "remember_days")


def upgrade() -> None:
    for name in DAYS:
        op.add_column("customers", sa.Column(name, sa.Integer()))
    op.create_table(
        "customer_notes",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("customer_id", BIG, autoincrement=False, nullable=False),
        sa.Column("slug", WORD, nullable=False),
        sa.Column("act", WORD, nullable=False),
        sa.Column("who", WORD, nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("detail", sa.JSON(), nullable=False),
        sa.Column("noted_at", BIG, nullable=False),
        sa.Column("ended_at", BIG),
        sa.PrimaryKeyConstraint("id", name="pk_customer_notes"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_customer_notes_slug", "customer_notes", ["slug"])


def downgrade() -> None:
    op.drop_table("customer_notes")
    for name in reversed(DAYS):
        op.drop_column("customers", name)

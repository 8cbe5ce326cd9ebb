"""What is held against a window whose deliveries ended badly, and the breaker of each customer.

Revision: 0003, after 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    for column in (
        sa.Column("deaths", sa.Integer(), nullable=False, server_default=sa.text("0")),
        sa.Column("cause", sa.Text(), nullable=True),
        sa.Column("tried_by", sa.Text(), nullable=True),
        sa.Column("failures", sa.JSON(), nullable=True),
    ):
        op.add_column("windows", column)
    for column in (
        sa.Column("breaker_reason", WORD, nullable=True),
        sa.Column("breaker_opened_at", sa.BigInteger(), nullable=True),
        sa.Column("failures_accepted_upto", sa.BigInteger(), nullable=True),
    ):
        op.add_column("customers", column)


def downgrade() -> None:
    for name in ("failures_accepted_upto", "breaker_opened_at", "breaker_reason"):
        op.drop_column("customers", name)
    for name in ("failures", "tried_by", "cause", "deaths"):
        op.drop_column("windows", name)

"""Queues that no route leads to any more, and a customer's windows rung by hand.

Revision: 0010, after 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    asked = sa.Column("rings_asked", sa.BigInteger(), nullable=False, server_default=sa.text("0"))
    op.add_column("customers", asked)
    op.create_table(
        "left_queues",
        sa.Column("customer_id", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("name", WORD, nullable=False),
        sa.Column("left_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customers.id"], name="fk_left_queues_customer_id_customers"
        ),
        sa.PrimaryKeyConstraint("customer_id", "name", name="pk_left_queues"),
    )


def downgrade() -> None:
    op.drop_table("left_queues")
    op.drop_column("customers", "rings_asked")

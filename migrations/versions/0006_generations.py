"""What tells a stream from another one of its name: fingerprints of its messages, and generations.

Revision: 0006, after 0005
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    for column in (
        sa.Column("edge", sa.LargeBinary(), nullable=True),
        sa.Column("base_offset", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("base_batches", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
    ):
        op.add_column("dispatch", column)
    for column in (
        sa.Column("generation", sa.BigInteger(), nullable=False, server_default=sa.text("0")),
        sa.Column("fingerprints", sa.LargeBinary(), nullable=True),
    ):
        op.add_column("windows", column)
    op.create_table(
        "generations",
        sa.Column("customer_id", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("generation", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("kind", WORD, nullable=False),
        sa.Column("from_offset", sa.BigInteger(), nullable=False),
        sa.Column("cursor_before", sa.BigInteger(), nullable=False),
        sa.Column("expired", sa.BigInteger(), nullable=False),
        sa.Column("began_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customers.id"], name="fk_generations_customer_id_customers"
        ),
        sa.PrimaryKeyConstraint("customer_id", "generation", name="pk_generations"),
    )
    # Where an earlier revision read a stream once more, nobody can tell which windows are of which stream:
    # the equation of offsets and batches holds from here on, and so does the proof.
    op.execute("UPDATE dispatch SET base_offset = next_offset, base_batches = batches WHERE generation > 0")
    op.execute(
        "INSERT INTO generations"
        " (customer_id, generation, kind, from_offset, cursor_before, expired, began_at)"
        " SELECT customer_id, generation, 'replaced', next_offset, next_offset, 0, 0"
        " FROM dispatch WHERE generation > 0"
    )


def downgrade() -> None:
    op.drop_table("generations")
    for name in ("fingerprints", "generation"):
        op.drop_column("windows", name)
    for name in ("base_batches", "base_offset", "edge"):
        op.drop_column("dispatch", name)

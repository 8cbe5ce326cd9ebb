"""What was done about quarantined rows: replays, discards, exports, and rows that were forgotten.

Revision: 0004, after 0003
"""

import sqlalchemy as sa
from alembic import op

from migrations.indexes import create_index, done

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
BIG = sa.BigInteger()
REPLAYED = "ix_quarantine_customer_id_replayed_as"
CREATED = "ix_quarantine_customer_id_created_at"
COUNTS = ("pruned_quarantined_batches", "pruned_quarantined_events", "quarantine_pruned_below")


def upgrade() -> None:
    if not done("quarantine_notes"):
        add()
    create_index(REPLAYED, "quarantine", ["customer_id", "replayed_as"])
    create_index(CREATED, "quarantine", ["customer_id", "created_at"])


def add() -> None:
    op.add_column("quarantine", sa.Column("replayed_as", WORD))
    op.add_column("quarantine", sa.Column("replayed_at", BIG))
    for name in COUNTS:
        op.add_column("folded", sa.Column(name, BIG, nullable=False, server_default=sa.text("0")))
    op.create_table(
        "quarantine_notes",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("quarantine_id", BIG, nullable=False),
        sa.Column("act", WORD, nullable=False),
        sa.Column("who", WORD, nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.Column("noted_at", BIG, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_quarantine_notes"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_quarantine_notes_quarantine_id", "quarantine_notes", ["quarantine_id"])


def downgrade() -> None:
    op.drop_table("quarantine_notes")
    for name in COUNTS:
        op.drop_column("folded", name)
    for index in (CREATED, REPLAYED):
        op.drop_index(index, "quarantine")
    for name in ("replayed_at", "replayed_as"):
        op.drop_column("quarantine", name)

"""Public keys, and what was let in and refused of each on a day.

Revision: 0014, after 0013
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

BIG = sa.BigInteger()
ID = BIG.with_variant(sa.Integer(), "sqlite")
WORD = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "public_keys",
        sa.Column("id", ID, autoincrement=True, nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("key", WORD, nullable=False),
        sa.Column("origins", sa.JSON(), nullable=False),
        sa.Column("apps", sa.JSON(), nullable=False),
        *(sa.Column(name, BIG) for name in ("bytes_a_day", "batches_a_day", "requests_a_minute")),
        sa.Column("expires_at", BIG),
        sa.Column("created_at", BIG, nullable=False),
        sa.Column("revoked_at", BIG),
        sa.PrimaryKeyConstraint("id", name="pk_public_keys"),
        sa.UniqueConstraint("digest", name="uq_public_keys_digest"),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customers.id"], name="fk_public_keys_customer_id_customers"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_public_keys_customer_id", "public_keys", ["customer_id"])
    op.create_table(
        "public_key_use",
        sa.Column("key_id", BIG, autoincrement=False, nullable=False),
        sa.Column("day", BIG, autoincrement=False, nullable=False),
        sa.Column("receiver", WORD, nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        *(sa.Column(name, BIG, nullable=False) for name in ("bytes", "batches", "refused")),
        sa.PrimaryKeyConstraint("key_id", "day", "receiver", name="pk_public_key_use"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_public_key_use_customer_id", "public_key_use", ["customer_id"])


def downgrade() -> None:
    op.drop_table("public_key_use")
    op.drop_table("public_keys")

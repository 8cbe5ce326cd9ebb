"""Events a day of public keys: what each lets in, and what was deposited of it.

Revision: 0018, after 0017
"""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

BIG = sa.BigInteger()


def upgrade() -> None:
    op.add_column("public_keys", sa.Column("events_a_day", BIG))
    op.add_column("public_key_use", sa.Column("events", BIG, nullable=False, server_default=sa.text("0")))


def downgrade() -> None:
    op.drop_column("public_key_use", "events")
    op.drop_column("public_keys", "events_a_day")

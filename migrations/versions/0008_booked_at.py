"""When the ledger booked a batch: its id is remembered for days of this time, not of a receiver's clock.

Revision: 0008, after 0007
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Null for what was booked before, and by dispatchers of before: then the time of acceptance counts.
    op.add_column("batches", sa.Column("booked_at", sa.BigInteger()))


def downgrade() -> None:
    op.drop_column("batches", "booked_at")

"""The parts of windows that were split, by their offsets: a few among millions.

Revision: 0007, after 0006
"""

from alembic import op

from migrations.indexes import create_index

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

INDEX = "ix_windows_parts"


def upgrade() -> None:
    create_index(INDEX, "windows", ["customer_id", "first_offset"], where="parent_id IS NOT NULL")


def downgrade() -> None:
    op.drop_index(INDEX, "windows")

"""The parts of windows that were split, by their offsets: a few among millions.

Revision: 0007, after 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

INDEX = "ix_windows_parts"
IS_PART = sa.text("parent_id IS NOT NULL")


def upgrade() -> None:
    op.create_index(
        INDEX,
        "windows",
        ["customer_id", "first_offset"],
        postgresql_where=IS_PART,
        sqlite_where=IS_PART,
    )


def downgrade() -> None:
    op.drop_index(INDEX, "windows")

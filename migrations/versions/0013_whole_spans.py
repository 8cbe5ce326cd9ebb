"""What a kept event's span says besides its fields and its attributes as text.

Revision: 0013, after 0012
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

DOCUMENTS = ("resource", "scope", "span", "span_events", "links")


def upgrade() -> None:
    op.add_column("events", sa.Column("trace_state", sa.Text()))
    op.add_column("events", sa.Column("flags", sa.BigInteger()))
    for name in DOCUMENTS:
        op.add_column("events", sa.Column(name, sa.JSON()))


def downgrade() -> None:
    for name in ("trace_state", "flags", *DOCUMENTS):
        op.drop_column("events", name)

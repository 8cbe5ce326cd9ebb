"""Indexes on tables that may be large, built while others write."""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op

# The build waits for every transaction that is older than itself, and keeps nobody from reading or writing.
_PATIENT = ("SET lock_timeout = '1h'", "SET statement_timeout = '12h'")
_WITHIN_BOUNDS = ("RESET lock_timeout", "RESET statement_timeout")
_IS_VALID = sa.text("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")


def create_index(name: str, table: str, columns: Sequence[str], *, where: str | None = None) -> None:
    """Make an index; on PostgreSQL concurrently, and anew if an earlier build was interrupted.

    On PostgreSQL what the migration did before is committed first: begin it with the question whether that
    is done already (`done`), and make its indexes last. Not for a partitioned table.
    """
    condition = None if where is None else sa.text(where)
    if op.get_context().dialect.name != "postgresql":
        op.create_index(name, table, list(columns), sqlite_where=condition)
        return
    with op.get_context().autocommit_block():
        for setting in _PATIENT:
            op.execute(setting)
        valid = op.get_bind().execute(_IS_VALID, {"name": name}).scalar()
        if valid is False:
            op.execute(f"DROP INDEX CONCURRENTLY {name}")
        if not valid:
            op.create_index(
                name, table, list(columns), postgresql_where=condition, postgresql_concurrently=True
            )
        for setting in _WITHIN_BOUNDS:
            op.execute(setting)


def done(table: str) -> bool:
    """Whether an earlier run, which was interrupted at an index, has made the table."""
    return sa.inspect(op.get_bind()).has_table(table)

"""What all tables share: the naming of constraints, types that differ by database, kinds of columns."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import BigInteger, Column, DateTime, Dialect, ForeignKey, Integer, MetaData, Text, text
from sqlalchemy.types import TypeDecorator, TypeEngine

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

NEVER_REUSED: dict[str, Any] = {"sqlite_autoincrement": True}
"""An id that was given is never given again, even after its row is pruned: messages carry window ids."""
CLUSTERED: dict[str, Any] = {"sqlite_with_rowid": False}
"""Not where keys are random: then rows are better appended, and only a small index is written all over."""


class Timestamp(TypeDecorator[datetime]):
    """An aware datetime; on SQLite fixed-width UTC text with microseconds, which sorts as the times do."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


# Byte order on both databases: the order in which Arrow and Python compare the same strings.
Word: TypeEngine[str] = Text().with_variant(Text(collation="C"), "postgresql")
Id: TypeEngine[int] = BigInteger().with_variant(Integer(), "sqlite")


def id_column() -> Column[int]:
    return Column("id", Id, primary_key=True, autoincrement=True)


def customer(*, key: bool = False, checked: bool = False) -> Column[int]:
    # Foreign keys only on small tables: the check costs more than the insert it guards.
    reference = [ForeignKey("customers.id")] if checked else []
    return Column("customer_id", BigInteger, *reference, primary_key=key, autoincrement=False, nullable=False)


def count(name: str) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=text("0"))


def number(name: str, *, key: bool = False) -> Column[int]:
    return Column(name, BigInteger, primary_key=key, autoincrement=False, nullable=False)


def word(name: str, *, key: bool = False, nullable: bool = False, unique: bool = False) -> Column[str]:
    return Column(name, Word, primary_key=key, nullable=nullable, unique=unique)


def when(name: str, *, key: bool = False) -> Column[datetime]:
    return Column(name, Timestamp(), primary_key=key, nullable=False)

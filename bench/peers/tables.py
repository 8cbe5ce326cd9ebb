"""The peers' tables: all events, and roll-ups by minute, service, operation and status.

They do less than Sluice: no interactions, no histograms, no redaction, no quarantine, nothing exactly once.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Connection, DateTime, Engine, Text, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

_ROLL_UP = text(
    "INSERT INTO rollups (minute, service, operation, status,"
    " count, duration_sum, duration_min, duration_max)"
    " SELECT date_trunc('minute', started_at), service, operation, status, count(*), sum(duration_us),"
    " min(duration_us), max(duration_us) FROM events WHERE batch_id = :batch_id"
    " GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
    " ON CONFLICT (minute, service, operation, status) DO UPDATE SET"
    " count = rollups.count + excluded.count,"
    " duration_sum = rollups.duration_sum + excluded.duration_sum,"
    " duration_min = LEAST(rollups.duration_min, excluded.duration_min),"
    " duration_max = GREATEST(rollups.duration_max, excluded.duration_max)"
)


class Base(DeclarativeBase):
    type_annotation_map = {  # noqa: RUF012 (as the documentation shows it)
        int: BigInteger,
        str: Text,
        datetime: DateTime(timezone=True),
        dict[str, str]: JSONB,
    }


class Event(Base):
    __tablename__ = "events"

    id: Mapped[int] = mapped_column(primary_key=True)
    batch_id: Mapped[str] = mapped_column(index=True)
    event_id: Mapped[str]
    trace_id: Mapped[str]
    parent_id: Mapped[str | None]
    started_at: Mapped[datetime]
    duration_us: Mapped[int]
    service: Mapped[str]
    operation: Mapped[str]
    status: Mapped[str]
    attributes: Mapped[dict[str, str]]


class RollupRow(Base):
    __tablename__ = "rollups"

    minute: Mapped[datetime] = mapped_column(primary_key=True)
    service: Mapped[str] = mapped_column(primary_key=True)
    operation: Mapped[str] = mapped_column(primary_key=True)
    status: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int]
    duration_sum: Mapped[int]
    duration_min: Mapped[int]
    duration_max: Mapped[int]


def create(engine: Engine) -> None:
    """The tables, in an empty database."""
    Base.metadata.create_all(engine)


def row(event: Mapping[str, Any], batch_id: str) -> dict[str, Any]:
    """One event of `bench.peers.otlp` as a row."""
    return {
        "batch_id": batch_id,
        "event_id": event["event_id"],
        "trace_id": event["trace_id"],
        "parent_id": event.get("parent_id"),
        "started_at": datetime.fromisoformat(event["started_at"]),
        "duration_us": event["duration_us"],
        "service": event["service"],
        "operation": event["operation"],
        "status": event["status"],
        "attributes": event["attributes"],
    }


def roll_up(connection: Connection, batch_id: str) -> None:
    """Add a batch's events to the roll-ups, sorted so that two of them do not deadlock."""
    connection.execute(_ROLL_UP, {"batch_id": batch_id})

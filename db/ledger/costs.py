"""What a customer's deposited windows cost, by periods of ten minutes; kept for a day and a bit."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, select, text

from db import bulk
from db.tables import costs

PERIOD_US = 600_000_000
DAY_PERIODS = 144
KEPT_PERIODS = DAY_PERIODS + 6
# Deposits of one customer come one after the other, so that no two wait for this row.
_ADD = text(
    "INSERT INTO costs (period, customer_id, windows, batches, events, bytes, processor_us)"
    " VALUES (:period, :customer_id, :windows, :batches, :events, :bytes, :processor_us)"
    " ON CONFLICT (period, customer_id) DO UPDATE SET windows = costs.windows + excluded.windows,"
    " batches = costs.batches + excluded.batches, events = costs.events + excluded.events,"
    " bytes = costs.bytes + excluded.bytes, processor_us = costs.processor_us + excluded.processor_us"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerCost:
    """Of deposited windows: their batches, the events decoded, bytes of bodies as sent, and the processor
    time (µs) in which workers decoded, processed and deposited them.
    """

    windows: int = 0
    batches: int = 0
    events: int = 0
    bytes: int = 0
    processor_us: int = 0


def add(conn: Connection, costs_by_customer: Mapping[int, CustomerCost], now_us: int) -> None:
    """In the deposit's transaction, after it has locked the customers' other deposits out."""
    period = now_us // PERIOD_US
    rows = [
        {
            "period": period,
            "customer_id": of,
            **{name: getattr(cost, name) for name in CustomerCost.__slots__},
        }
        for of, cost in costs_by_customer.items()
    ]
    if not bulk.is_postgresql(conn):
        if rows:
            conn.execute(_ADD, rows)
        return
    for row in rows:
        bulk.send(conn, _ADD, row)


def forget(conn: Connection, now_us: int) -> int:
    """Delete the oldest period that nobody asks for any more; returns how many rows, 0 when there is none."""
    old = costs.c.period < now_us // PERIOD_US - KEPT_PERIODS
    oldest = select(func.min(costs.c.period)).where(old).scalar_subquery()
    return conn.execute(delete(costs).where(costs.c.period == oldest)).rowcount

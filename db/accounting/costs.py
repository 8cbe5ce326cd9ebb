"""What each customer costs, and when it last sent."""

from typing import Any

from sqlalchemy import Connection, func, select

from db.ledger.costs import DAY_PERIODS, PERIOD_US, CustomerCost
from db.tables import batches, costs, customers

HOUR_PERIODS = 6


def last_hour(conn: Connection, now_us: int) -> dict[int, CustomerCost]:
    """By customer id, of those that had deposits; of 60 to 70 minutes, since periods of ten are whole."""
    return _since(conn, now_us // PERIOD_US - HOUR_PERIODS)


def last_day(conn: Connection, now_us: int) -> dict[int, CustomerCost]:
    """By customer id, of those that had deposits; of a day and up to ten minutes more."""
    return _since(conn, now_us // PERIOD_US - DAY_PERIODS)


def last_accepted(conn: Connection) -> dict[int, int]:
    """When the newest batch that was dispatched was accepted, µs since 1970, by customer id.

    Of customers that have any. A batch that still waits in the raw stream is not known to the database.
    """
    # A look into the index for each customer, and not a walk along all batches.
    newest = (
        select(func.max(batches.c.accepted_at))
        .where(batches.c.customer_id == customers.c.id)
        .scalar_subquery()
    )
    return {row[0]: row[1] for row in conn.execute(select(customers.c.id, newest)) if row[1] is not None}


def _since(conn: Connection, period: int) -> dict[int, CustomerCost]:
    sums: list[Any] = [func.sum(costs.c[name]) for name in CustomerCost.__slots__]
    query = select(costs.c.customer_id, *sums).where(costs.c.period >= period).group_by(costs.c.customer_id)
    return {
        row[0]: CustomerCost(**dict(zip(CustomerCost.__slots__, map(int, row[1:]), strict=True)))
        for row in conn.execute(query)
    }

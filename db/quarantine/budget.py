"""How many bytes of a customer come into quarantine on a day (UTC): what is beyond stays in its raw stream.

The day's row is locked from the first look to the commit, so that of two transactions the second decides by
what the first one has kept.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, select, text

from db.clock import DAY_US
from db.tables import customers, quarantine_days

# An update that changes nothing returns what is there, and keeps others from it.
_LOOK = text(
    "INSERT INTO quarantine_days (customer_id, day, bytes, withheld, withheld_bytes)"
    " VALUES (:customer_id, :day, 0, 0, 0)"
    " ON CONFLICT (customer_id, day) DO UPDATE SET bytes = quarantine_days.bytes"
    " RETURNING bytes"
)
_BOOK = text(
    "UPDATE quarantine_days SET bytes = bytes + :bytes, withheld = withheld + :withheld,"
    " withheld_bytes = withheld_bytes + :withheld_bytes"
    " WHERE customer_id = :customer_id AND day = :day"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Bytes that came into quarantine, and rows whose bytes did not, with the sum of those."""

    bytes: int = 0
    withheld: int = 0
    withheld_bytes: int = 0


_SUMS = select(
    quarantine_days.c.customer_id, *(func.sum(quarantine_days.c[name]) for name in Spent.__slots__)
).group_by(quarantine_days.c.customer_id)


def spend(conn: Connection, customer_id: int, day: int, sizes: Sequence[int], daily_bytes: int) -> list[bool]:
    """Which of so many bytes fit into the day, in their order; from now on they are booked.

    `day`: days since 1970. `daily_bytes` is what a customer has that has no budget of its own.
    """
    own = select(customers.c.quarantine_daily_bytes).where(customers.c.id == customer_id)
    budget = conn.execute(own).scalar_one_or_none() or daily_bytes
    of = {"customer_id": customer_id, "day": day}
    used: int = conn.execute(_LOOK, of).scalar_one()
    before = used
    fit = []
    for size in sizes:
        fit.append(used + size <= budget)
        used += size if fit[-1] else 0
    beyond = [size for size, fits in zip(sizes, fit, strict=True) if not fits]
    conn.execute(_BOOK, of | {"bytes": used - before, "withheld": len(beyond), "withheld_bytes": sum(beyond)})
    return fit


def spent(conn: Connection, customer_id: int, *, day: int | None = None) -> Spent:
    """On that day; without one, on all days that are remembered."""
    query = _SUMS.where(quarantine_days.c.customer_id == customer_id)
    if day is not None:
        query = query.where(quarantine_days.c.day == day)
    found = conn.execute(query).one_or_none()
    return _spent(found) if found else Spent()


def everyones(conn: Connection, *, day: int | None = None) -> dict[int, Spent]:
    """The same of each customer that has any."""
    query = _SUMS if day is None else _SUMS.where(quarantine_days.c.day == day)
    return {row[0]: _spent(row) for row in conn.execute(query)}


def _spent(row: Row[Any]) -> Spent:
    return Spent(**dict(zip(Spent.__slots__, map(int, row[1:]), strict=True)))


def withheld_on(conn: Connection, day: int) -> dict[int, int]:
    """How many rows' bytes were withheld on that day, of the customers of whom any were."""
    table = quarantine_days.c
    query = select(table.customer_id, table.withheld).where(table.day == day, table.withheld > 0)
    return {row.customer_id: row.withheld for row in conn.execute(query)}


def forget(conn: Connection, customer_id: int, before_us: int) -> None:
    """Delete the days that were over before that time."""
    table = quarantine_days.c
    conn.execute(
        delete(quarantine_days).where(table.customer_id == customer_id, table.day < before_us // DAY_US)
    )

"""Who dispatches which customer.

The election only saves work: a holder that was superseded fails the compare-and-set of its next `record`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, select, update

from db.tables import dispatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A beat that stands still for long enough is the sign of a dead holder; no clock is compared."""

    customer_id: int
    holder: str | None
    epoch: int
    beat: int


def claim(conn: Connection, customer_id: int, holder: str, epoch: int | None = None) -> int | None:
    """Take the customer, from whoever has it; returns the new epoch.

    With `epoch`, as `peek` saw it, only if nobody claimed in between: None when somebody did.
    """
    change = update(dispatch).where(dispatch.c.customer_id == customer_id)
    if epoch is not None:
        change = change.where(dispatch.c.epoch == epoch)
    taken: int | None = conn.execute(
        change.values(holder=holder, epoch=dispatch.c.epoch + 1, beat=dispatch.c.beat + 1).returning(
            dispatch.c.epoch
        )
    ).scalar_one_or_none()
    return taken


def renew(conn: Connection, holder: str, customer_ids: Sequence[int]) -> set[int]:
    """Beat for the customers; returns those that are still the holder's."""
    change = (
        update(dispatch)
        .where(dispatch.c.customer_id.in_(customer_ids), dispatch.c.holder == holder)
        .values(beat=dispatch.c.beat + 1)
    )
    return set(conn.execute(change.returning(dispatch.c.customer_id)).scalars())


def release(conn: Connection, holder: str, customer_ids: Sequence[int]) -> None:
    """Give the customers up, so that another takes them without waiting."""
    conn.execute(
        update(dispatch)
        .where(dispatch.c.customer_id.in_(customer_ids), dispatch.c.holder == holder)
        .values(holder=None, beat=dispatch.c.beat + 1)
    )


def peek(conn: Connection) -> list[Lease]:
    """All leases by customer."""
    query = select(dispatch.c.customer_id, dispatch.c.holder, dispatch.c.epoch, dispatch.c.beat)
    return [Lease(**row._mapping) for row in conn.execute(query.order_by(dispatch.c.customer_id))]

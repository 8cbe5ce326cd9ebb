"""Who dispatches which customer.

The election only saves work: a holder that was superseded fails the compare-and-set of its next `record`.
"""

import json
from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Connection, select, text, update

from db import bulk
from db.tables import dispatch

# One parameter for all customers: a statement with one for each takes longer to build than to run.
_RENEW = {
    dialect: text(
        f"UPDATE dispatch SET beat = beat + 1 WHERE holder = :holder AND customer_id {those}"  # noqa: S608
        " RETURNING customer_id"
    )
    for dialect, those in (
        ("postgresql", "= ANY(:of)"),
        ("sqlite", "IN (SELECT value FROM json_each(:of))"),
    )
}


class Lease(NamedTuple):
    """A beat that stands still for long enough is the sign of a dead holder; no clock is compared."""

    customer_id: int
    holder: str | None
    epoch: int
    beat: int


_PEEK = select(*(dispatch.c[name] for name in Lease._fields)).order_by(dispatch.c.customer_id)


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
    of: object = list(customer_ids) if bulk.is_postgresql(conn) else json.dumps(list(customer_ids))
    return set(conn.execute(_RENEW[conn.dialect.name], {"holder": holder, "of": of}).scalars())


def release(conn: Connection, holder: str, customer_ids: Sequence[int]) -> None:
    """Give the customers up, so that another takes them without waiting."""
    conn.execute(
        update(dispatch)
        .where(dispatch.c.customer_id.in_(customer_ids), dispatch.c.holder == holder)
        .values(holder=None, beat=dispatch.c.beat + 1)
    )


def peek(conn: Connection) -> list[Lease]:
    """All leases by customer."""
    return [Lease(*row) for row in conn.execute(_PEEK)]

"""What each receiver accepted of a customer on a day: what counts against daily quotas."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, bindparam, case, delete, func, select, text

from db.clock import DAY_US
from db.customers.day_use import Written
from db.tables import customers, usage

KEPT_DAYS = 7
# A receiver's count only grows: of two of its processes that write, the later count wins in whatever order.
_WRITE = text(
    "INSERT INTO usage (customer_id, day, receiver, bytes)"
    # Not of a customer that was deleted meanwhile.
    " SELECT id, :day, :receiver, :bytes FROM customers WHERE id = :customer_id AND state <> 'deleting'"
    " ON CONFLICT (customer_id, day, receiver) DO UPDATE SET bytes = excluded.bytes"
    " WHERE excluded.bytes > usage.bytes"
)
# Built once: to build a statement takes longer than to run it.
_WRITTEN = (
    select(
        usage.c.customer_id,
        func.sum(usage.c.bytes).label("total"),
        func.sum(case((usage.c.receiver == bindparam("receiver"), usage.c.bytes), else_=0)).label("own"),
    )
    .where(usage.c.customer_id.in_(bindparam("ids", expanding=True)), usage.c.day == bindparam("day"))
    .group_by(usage.c.customer_id)
)


def write(conn: Connection, receiver: str, day: int, counts: Mapping[int, int]) -> None:
    """The bytes that this receiver accepted on the day so far, by customer; days since 1970, UTC. May be
    repeated.
    """
    for customer_id in sorted(counts):
        values = {"customer_id": customer_id, "day": day, "receiver": receiver, "bytes": counts[customer_id]}
        conn.execute(_WRITE, values)


def forget(conn: Connection, now_us: int) -> None:
    """Forget days that are long over, of customers that send no more, too."""
    old = usage.c.day < now_us // DAY_US - KEPT_DAYS
    some = select(usage.c.day).where(usage.c.customer_id == customers.c.id, old).exists()
    conn.execute(delete(usage).where(usage.c.customer_id.in_(select(customers.c.id).where(some)), old))


def total(conn: Connection, customer_id: int, day: int) -> int:
    """Bytes that all receivers wrote for the day."""
    query = select(func.coalesce(func.sum(usage.c.bytes), 0)).where(
        usage.c.customer_id == customer_id, usage.c.day == day
    )
    return int(conn.execute(query).scalar_one())


def written(
    conn: Connection, customer_ids: Sequence[int], day: int, *, receiver: str
) -> dict[int, Written[int]]:
    """What was written for the day of those of the customers, of which there may be some hundreds, of which
    anything was.
    """
    rows = conn.execute(_WRITTEN, {"ids": customer_ids, "day": day, "receiver": receiver})
    return {row.customer_id: Written(int(row.own), int(row.total - row.own)) for row in rows}

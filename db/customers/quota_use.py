"""What each receiver accepted of a customer on a day: what counts against daily quotas."""

from collections.abc import Mapping

from sqlalchemy import Connection, delete, func, select, text

from db.tables import usage

KEPT_DAYS = 7
# A receiver's count only grows: of two of its processes that write, the later count wins in whatever order.
_WRITE = text(
    "INSERT INTO usage (customer_id, day, receiver, bytes)"
    # Not of a customer that was deleted meanwhile.
    " SELECT id, :day, :receiver, :bytes FROM customers WHERE id = :customer_id AND state <> 'deleting'"
    " ON CONFLICT (customer_id, day, receiver) DO UPDATE SET bytes = excluded.bytes"
    " WHERE excluded.bytes > usage.bytes"
)


def write(conn: Connection, receiver: str, day: int, counts: Mapping[int, int]) -> None:
    """The bytes that this receiver accepted on the day so far, by customer; days since 1970, UTC. May be
    repeated. Forgets days that are long over.
    """
    for customer_id in sorted(counts):
        values = {"customer_id": customer_id, "day": day, "receiver": receiver, "bytes": counts[customer_id]}
        conn.execute(_WRITE, values)
        over = delete(usage).where(usage.c.customer_id == customer_id, usage.c.day < day - KEPT_DAYS)
        conn.execute(over)


def total(conn: Connection, customer_id: int, day: int, *, but: str = "") -> int:
    """Bytes that all receivers wrote for the day, leaving out the receiver `but`."""
    query = select(func.coalesce(func.sum(usage.c.bytes), 0)).where(
        usage.c.customer_id == customer_id, usage.c.day == day, usage.c.receiver != but
    )
    return int(conn.execute(query).scalar_one())

"""The breaker of a customer: opened when most of what it sent fails, closed by an operator.

While it is open nothing of the customer is dispatched or deposited; its windows stay owed.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection, select, update

from db.ledger.windows import IS_OPEN, new_token
from db.tables import customers, windows

_MOST_WINDOWS = 2_000  # of the last minute; the newest say how it is now


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcomes:
    """Batches that were decoded and processed, or not: `failures` counts those by reason."""

    batches: int
    failures: Mapping[str, int] = field(hash=False)


def outcomes(conn: Connection, customer_id: int, since_us: int, accepted_upto: int) -> Outcomes:
    """Of the windows deposited since then, without those whose failures are accepted."""
    names = ("batches", "failures", "deposited_at", "first_offset")
    newest = (
        select(*(windows.c[name] for name in names))
        .where(windows.c.customer_id == customer_id)
        .order_by(windows.c.id.desc())
        .limit(_MOST_WINDOWS)
    )
    batches, failures = 0, Counter[str]()
    for row in conn.execute(newest):
        if (row.deposited_at or 0) > since_us and row.first_offset > accepted_upto:
            batches += row.batches
            failures.update(row.failures or {})
    return Outcomes(batches=batches, failures=failures)


def trip(conn: Connection, customer_id: int, reason: str, now_us: int) -> bool:
    """Open the breaker; False when it was open already."""
    closed = update(customers).where(customers.c.id == customer_id, customers.c.breaker_reason.is_(None))
    return conn.execute(closed.values(breaker_reason=reason, breaker_opened_at=now_us)).rowcount == 1


def reset(conn: Connection, customer_id: int, *, accept_upto: int | None = None) -> int:
    """Close the breaker if it is open; returns how many windows are owed, which the dispatcher rings again.

    They are decoded anew, with nothing held against them: results that are on their way carry a token that no
    longer fits. With `accept_upto`, failures in windows that begin at or below that offset of the raw stream
    go to quarantine without opening it again, and what is held against windows stays.
    """
    mine = update(customers).where(customers.c.id == customer_id)
    if accept_upto is not None:
        conn.execute(mine.values(failures_accepted_upto=accept_upto))
    opened = mine.where(customers.c.breaker_reason.is_not(None))
    if conn.execute(opened.values(breaker_reason=None, breaker_opened_at=None)).rowcount == 0:
        return 0
    owed = select(windows.c.id).where(windows.c.customer_id == customer_id, IS_OPEN).with_for_update()
    window_ids = conn.execute(owed).scalars().all()
    fresh = {"deliveries": 0, "deaths": 0, "cause": None} if accept_upto is None else {}
    for window_id in window_ids:
        one = update(windows).where(windows.c.id == window_id)
        conn.execute(one.values(token=new_token(), tried_by=None, **fresh))
    return len(window_ids)

"""The deposit's own rows: the cursor in the processed stream, and the closing of windows."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import Connection, any_, bindparam, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from db import bulk
from db.customers.rows import DELETING
from db.errors import LostRace, NoCustomer
from db.ledger.windows import IS_OPEN
from db.tables import customers, deposits, windows

__all__ = [
    "DepositState",
    "DepositedWindow",
    "LostRace",
    "Owed",
    "advance",
    "lock",
    "mark",
    "marking",
    "position",
    "state",
    "take",
    "undeposited",
]

# Built once: to build a statement takes longer than to run it.
_ADVANCE = (
    update(deposits)
    .where(deposits.c.customer_id == bindparam("of"), deposits.c.next_offset == bindparam("before"))
    .values(next_offset=bindparam("after"))
)
_COUNTS = ("decoded", "kept", "kept_logs", "dropped", "rejected", "quarantined")
_MOVE = _ADVANCE.returning(deposits.c.customer_id)
_CLOSE = (
    update(windows)
    .where(windows.c.id == bindparam("window"), windows.c.batches == bindparam("held"), IS_OPEN)
    .values(
        state="deposited",
        deposited_at=bindparam("at"),
        failures=bindparam("new_failures", type_=windows.c.failures.type),
        **{name: bindparam(f"new_{name}") for name in _COUNTS},
    )
)
_CLOSED = _CLOSE.returning(windows.c.id)
_THESE = windows.c.id == any_(bindparam("windows", type_=ARRAY(windows.c.id.type)))

_OWED = (windows.c.customer_id == customers.c.id) & (windows.c.id == bindparam("window")) & IS_OPEN
_STATE = (
    select(
        *(customers.c.slug, customers.c.state, customers.c.breaker_reason),
        customers.c.failures_accepted_upto,
        *(deposits.c.next_offset, windows.c.id.label("owed")),
    )
    .join(deposits, deposits.c.customer_id == customers.c.id)
    .outerjoin(windows, _OWED)
    .where(customers.c.id == bindparam("of"))
)


class DepositState(NamedTuple):
    """What a deposit has to know before it begins; `next_offset` is the processed stream's.

    `halted`: the breaker is open, or the customer is being deleted. Windows that begin at or below
    `accepted_upto` may fail.
    """

    slug: str
    halted: bool
    accepted_upto: int
    next_offset: int
    owed: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DepositedWindow:
    """Of events: decoded = kept + dropped + rejected; `kept_logs` of the kept are log records. `quarantined`
    counts those of the `batches` that were not taken as a whole; `failures` those that failed to decode or
    process, by reason.
    """

    id: int
    batches: int
    decoded: int
    kept: int
    dropped: int
    rejected: int
    quarantined: int
    kept_logs: int = 0
    failures: Mapping[str, int] = field(default_factory=dict, hash=False)


class Owed(NamedTuple):
    """What a deposit has to know of an open window; `suspect` if deliveries of it ended badly. `bytes` of its
    batches' bodies as sent.
    """

    token: int
    first_offset: int
    suspect: bool
    first_accepted_at: int  # µs, of its oldest batch
    bytes: int


_OWED_COLUMNS = ("id", "token", "first_offset", "deliveries", "deaths", "first_accepted_at", "bytes")
_UNDEPOSITED = select(*(windows.c[name] for name in _OWED_COLUMNS)).where(IS_OPEN)
_OWN_UNDEPOSITED = _UNDEPOSITED.where(windows.c.customer_id == bindparam("of"), _THESE)


def state(conn: Connection, customer_id: int, window_id: int) -> DepositState:
    """What a deposit of this window has to know first. Raises NoCustomer when it was deleted."""
    row = conn.execute(_STATE, {"of": customer_id, "window": window_id}).one_or_none()
    if row is None:
        raise NoCustomer(f"there is no customer {customer_id}")
    upto = row.failures_accepted_upto
    return DepositState(
        slug=row.slug,
        halted=row.breaker_reason is not None or row.state == DELETING,
        accepted_upto=-1 if upto is None else upto,
        next_offset=row.next_offset,
        owed=row.owed is not None,
    )


def position(conn: Connection, customer_id: int) -> int:
    """The next offset of the processed stream to deposit. Raises LookupError."""
    query = select(deposits.c.next_offset).where(deposits.c.customer_id == customer_id)
    offset: int | None = conn.execute(query).scalar_one_or_none()
    if offset is None:
        raise LookupError(f"there is no customer {customer_id}")
    return offset


def advance(conn: Connection, customer_id: int, before: int, after: int) -> None:
    """Move the cursor: the first statement of a deposit, since it locks out the customer's other deposits.

    `after` may equal `before`, to lock alone. Raises LostRace when the cursor is not at `before`: then
    nothing may be committed.
    """
    moved = conn.execute(_ADVANCE, {"of": customer_id, "before": before, "after": after})
    if moved.rowcount != 1:
        raise _lost(customer_id, before)


def take(
    conn: Connection, customer_id: int, before: int, after: int, window_ids: Sequence[int]
) -> dict[int, Owed]:
    """As `advance`, and then `undeposited` of this customer's windows; PostgreSQL answers both at once."""
    if not bulk.is_postgresql(conn):
        advance(conn, customer_id, before, after)
        return undeposited(conn, [customer_id], window_ids)
    with bulk.together(conn):
        moved = bulk.send(conn, _MOVE, {"of": customer_id, "before": before, "after": after})
        found = bulk.send(conn, _OWN_UNDEPOSITED, {"of": customer_id, "windows": list(window_ids)})
    if moved.fetchone() is None:
        raise _lost(customer_id, before)
    return dict(map(_owed, found.fetchall()))


def _lost(customer_id: int, before: int) -> LostRace:
    return LostRace(f"customer {customer_id} is no longer at processed offset {before}")


def lock(conn: Connection, customer_ids: Sequence[int]) -> set[int]:
    """Lock out the other deposits of these customers until the transaction's end, as `advance` does of one.

    Returns whose were locked: a customer is left out whose deposit is under way, that has an open breaker, or
    that is being deleted or was. Nobody waits for anybody here, so that no two groups wait for each other.
    """
    free = select(deposits.c.customer_id).join(customers, customers.c.id == deposits.c.customer_id)
    free = free.where(deposits.c.customer_id.in_(customer_ids), customers.c.breaker_reason.is_(None))
    free = free.where(customers.c.state != DELETING)
    return set(conn.execute(free.with_for_update(of=deposits, skip_locked=True)).scalars())


def undeposited(conn: Connection, customer_ids: Sequence[int], window_ids: Sequence[int]) -> dict[int, Owed]:
    """Those of the customers' windows that are still open."""
    mine = windows.c.customer_id.in_(customer_ids), windows.c.id.in_(window_ids)
    return dict(_owed(row) for row in conn.execute(_UNDEPOSITED.where(*mine)))


def _owed(row: Sequence[Any]) -> tuple[int, Owed]:
    """Of a row of `_UNDEPOSITED`: the window's id, and what is owed."""
    window_id, token, first_offset, deliveries, deaths, first_accepted_at, size = row
    return window_id, Owed(
        token=token,
        first_offset=first_offset,
        suspect=deliveries > 0 or deaths > 0,
        first_accepted_at=first_accepted_at,
        bytes=size,
    )


def mark(conn: Connection, deposited: Sequence[DepositedWindow], now_us: int) -> None:
    """Close the windows with their counts. Raises LostRace unless every one was still open, ValueError for
    results that account for another number of batches than their window holds: no retry helps then.
    """
    with bulk.together(conn):
        marked = marking(conn, deposited, now_us)
    marked()


def marking(conn: Connection, deposited: Sequence[DepositedWindow], now_us: int) -> Callable[[], None]:
    """As `mark`, among other statements of a block of `db.bulk.together`. What is returned is called after
    the block and before the commit, and raises what `mark` raises.
    """
    closing = [_closing(window, now_us) for window in deposited]
    if bulk.is_postgresql(conn):
        closed = [bulk.send(conn, _CLOSED, _as_text(each)) for each in closing]
        return lambda: _settle(conn, deposited, sum(cursor.fetchone() is not None for cursor in closed))
    count = conn.execute(_CLOSE, closing).rowcount if closing else 0
    return lambda: _settle(conn, deposited, count)


def _settle(conn: Connection, deposited: Sequence[DepositedWindow], closed: int) -> None:
    if closed == len(deposited):
        return
    # Whichever is still open holds another number of batches.
    accounted = {window.id: window.batches for window in deposited}
    query = select(windows.c.id, windows.c.batches).where(windows.c.id.in_(accounted), IS_OPEN)
    for window_id, held in conn.execute(query):
        raise ValueError(f"window {window_id} holds {held} batches, its results {accounted[window_id]}")
    raise LostRace("a window is not open")


def _closing(window: DepositedWindow, now_us: int) -> dict[str, object]:
    counts = {f"new_{name}": getattr(window, name) for name in _COUNTS}
    failures = dict(window.failures) or None
    return {"window": window.id, "held": window.batches, "at": now_us, "new_failures": failures, **counts}


def _as_text(closing: Mapping[str, object]) -> dict[str, object]:
    """As the driver takes it."""
    failures = closing["new_failures"]
    return {**closing, "new_failures": None if failures is None else json.dumps(failures)}

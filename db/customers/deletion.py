"""Deleting a customer: a fence first, then its rows in slices, its own row last.

The fence is one transaction. It changes what every dispatch and every deposit compares before it writes, so
none of them writes anything afterwards, whatever was under way. All else may be killed and repeated: the
customer's row says that it is being deleted until nothing else of it is left.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, Table, delete, literal_column, select, tuple_, update

import db.customers.notes
from db.clock import now_us
from db.customers.notes import CustomerNote
from db.customers.rows import DELETING, Customer, by_id
from db.ledger.windows import IS_OPEN
from db.tables import (
    batches,
    costs,
    customer_keys,
    customer_notes,
    customers,
    deposits,
    dispatch,
    events,
    exceptions,
    folded,
    generations,
    interactions,
    left_queues,
    log_rollups,
    logs,
    pipelines,
    public_key_use,
    public_keys,
    quarantine,
    quarantine_days,
    quarantine_notes,
    rollups,
    split_rollups,
    usage,
    windows,
)

# Windows before the pipelines that they name, quarantine before its notes.
SLICED = (
    *(windows, batches, events, rollups, exceptions, split_rollups, interactions, logs, log_rollups),
    *(quarantine, quarantine_notes, quarantine_days),
    *(usage, costs, generations, left_queues, pipelines, customer_keys, public_key_use, public_keys),
)
"""The tables whose rows go in slices, in this order."""
_LAST = (dispatch, deposits, folded)
NOWHERE = -1
"""A cursor of deposits that no deposit has read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deletion:
    """One that is under way, or over when the note's `ended_at` is not None."""

    note: CustomerNote

    @property
    def customer_id(self) -> int:
        return self.note.customer_id

    @property
    def rows(self) -> Mapping[str, int]:
        """How many were deleted, by table."""
        rows: Mapping[str, int] = self.note.detail["rows"]
        return rows


def begin(conn: Connection, customer: Customer, *, who: str, why: str) -> None:
    """The fence; does nothing for a customer that is being deleted already.

    From the commit on nothing of the customer is received (within 10 s), dispatched, worked on or deposited.
    """
    mine = select(customers.c.state).where(customers.c.id == customer.id).with_for_update()
    if conn.execute(mine).scalar_one_or_none() in (None, DELETING):
        return
    change = update(customers).where(customers.c.id == customer.id)
    conn.execute(change.values(state=DELETING, updated_at=now_us(conn)))
    held = update(dispatch).where(dispatch.c.customer_id == customer.id)
    conn.execute(held.values(epoch=dispatch.c.epoch + 1, beat=dispatch.c.beat + 1, holder=None))
    conn.execute(update(deposits).where(deposits.c.customer_id == customer.id).values(next_offset=NOWHERE))
    open_ones = conn.execute(delete(windows).where(windows.c.customer_id == customer.id, IS_OPEN)).rowcount
    db.customers.notes.add(
        conn,
        customer,
        "delete",
        who=who,
        why=why,
        detail={"was": customer.shown_state, "rows": {"windows": open_ones}},
        ended=False,
    )


def latest(conn: Connection, slug: str) -> Deletion | None:
    """The last deletion of a customer of this slug: under way or over."""
    found = [note for note in db.customers.notes.history(conn, slug) if note.act == "delete"]
    return Deletion(note=found[-1]) if found else None


def delete_slice(conn: Connection, deletion: Deletion, table: Table, most_rows: int) -> int:
    """Delete so many rows of a table at most, and add them to the deletion's counts; returns how many."""
    detail = _detail(conn, deletion)
    if table is quarantine:
        ids = select(quarantine.c.id).where(quarantine.c.customer_id == deletion.customer_id)
        some = conn.execute(ids.order_by(quarantine.c.id).limit(most_rows)).scalars().all()
        gone = {
            quarantine: conn.execute(delete(quarantine).where(quarantine.c.id.in_(some))).rowcount,
            # Of these there is no index by customer.
            quarantine_notes: conn.execute(
                delete(quarantine_notes).where(quarantine_notes.c.quarantine_id.in_(some))
            ).rowcount,
        }
    else:
        mine, key = table.c.customer_id == deletion.customer_id, table.primary_key.columns
        first = select(*key).where(mine).limit(most_rows)
        chosen = key[0].in_(first) if len(key) == 1 else tuple_(*key).in_(first)
        gone = {table: conn.execute(delete(table).where(mine, chosen)).rowcount}
    _count(conn, deletion, detail, {one.name: rows for one, rows in gone.items()})
    return gone[table]


def finish(conn: Connection, deletion: Deletion) -> bool:
    """Delete what is left: the customer's own row last, with what the ledger compares. False, and nothing is
    deleted, when rows of another table have come in between.
    """
    customer_id = deletion.customer_id
    lock = select(customers.c.id).where(customers.c.id == customer_id).with_for_update()
    if conn.execute(lock).scalar_one_or_none() is None:
        return True
    # What is written in a transaction that is under way is seen below: it locked one of these first.
    for table in (dispatch, deposits):
        conn.execute(select(table.c.customer_id).where(table.c.customer_id == customer_id).with_for_update())
    for table in SLICED:
        found: Select[tuple[Any]] = (
            select(literal_column("1")).select_from(table).where(table.c.customer_id == customer_id)
        )
        if table is not quarantine_notes and conn.execute(found.limit(1)).scalar_one_or_none():
            return False
    for table in _LAST:
        conn.execute(delete(table).where(table.c.customer_id == customer_id))
    conn.execute(delete(customers).where(customers.c.id == customer_id))
    ended = update(customer_notes).where(customer_notes.c.id == deletion.note.id)
    conn.execute(ended.values(ended_at=now_us(conn)))
    return True


def is_gone(conn: Connection, customer_id: int) -> bool:
    """Whether the customer is deleted, or being deleted."""
    found = by_id(conn, customer_id)
    return found is None or found.state == DELETING


def _detail(conn: Connection, deletion: Deletion) -> dict[str, Any]:
    """What the note says, locked: two who delete the same customer take turns."""
    query = select(customer_notes.c.detail).where(customer_notes.c.id == deletion.note.id)
    return dict(conn.execute(query.with_for_update()).scalar_one())


def _count(conn: Connection, deletion: Deletion, detail: dict[str, Any], gone: Mapping[str, int]) -> None:
    if not any(gone.values()):
        return
    rows = dict(detail["rows"])
    for name, count in gone.items():
        rows[name] = rows.get(name, 0) + count
    change = update(customer_notes).where(customer_notes.c.id == deletion.note.id)
    conn.execute(change.values(detail=detail | {"rows": rows}))

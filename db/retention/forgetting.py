"""What is old enough to be forgotten, and forgetting some of it.

An `old_` query says of which rows that is so: `db.retention.overdue` asks for the first one of each of many
customers, and what deletes takes some of one customer's. So `of` and `before` are values, or columns of
another query.
"""

from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    Table,
    bindparam,
    delete,
    func,
    literal,
    or_,
    select,
    tuple_,
    update,
)

from db.clock import DAY_US
from db.retention import partitions
from db.tables import (
    batches,
    deposits,
    events,
    folded,
    interactions,
    logs,
    quarantine,
    quarantine_notes,
    windows,
)

Of = int | ColumnElement[int]
Time = datetime | ColumnElement[datetime]

_NEWEST = select(func.max(batches.c.accepted_at)).where(batches.c.customer_id == bindparam("of"))


def forget_batches(conn: Connection, customer_id: int, before_us: int, most_rows: int) -> int:
    """Forget batch ids booked, and accepted, before that; returns how many. Such an id counts as new again.

    Receivers of earlier releases say by their own clocks when a batch was accepted, which may be days slow;
    when it was booked is by the ledger's. One that is fast only keeps ids for longer.
    A replay's id stays while the replay may be repeated, and until its last repeat is as old.
    """
    some = old_batches(customer_id, before_us).limit(most_rows)
    mine = batches.c.customer_id == customer_id
    return conn.execute(delete(batches).where(mine, batches.c.batch_id.in_(some))).rowcount


def old_batches(of: Of, before: Of) -> Select[tuple[str]]:
    """Their ids, for `forget_batches`."""
    repeatable = (
        select(quarantine.c.id)
        .where(
            quarantine.c.customer_id == of,
            quarantine.c.replayed_as == batches.c.batch_id,
            or_(quarantine.c.state == "replaying", quarantine.c.replayed_at >= before),
        )
        .correlate_except(quarantine)
    )
    booked_before = or_(batches.c.booked_at.is_(None), batches.c.booked_at < before)
    old = select(batches.c.batch_id).where(
        batches.c.customer_id == of, batches.c.accepted_at < before, booked_before, ~repeatable.exists()
    )
    return old.order_by(batches.c.accepted_at)


def remembered_from(conn: Connection, customer_id: int, now_us: int, days: int) -> int:
    """What was accepted before this may be forgotten: `days` before the newest batch that was dispatched.

    The stream's time and not the clock's, so that after a long pause a repeat that lies a minute behind its
    first in the stream is still known.
    """
    newest: int | None = conn.execute(_NEWEST, {"of": customer_id}).scalar_one()
    return days_before(newest, now_us, days)


def days_before(newest: int | None, now_us: int, days: int) -> int:
    """`remembered_from`, by the time of the newest batch, None where there is none."""
    return min(newest or 0, now_us) - days * DAY_US


def delete_windows(conn: Connection, customer_id: int, before_us: int, most_rows: int) -> int:
    """Delete windows that are folded and were made before that; returns how many.

    The newest of them that was recorded stays: when the stream loses all that came later, it tells what
    survives from another stream. Parts tell nothing (`db.ledger.generations.recorded`), and none stays.
    """
    upto = select(folded.c.upto_window_id).where(folded.c.customer_id == customer_id).scalar_subquery()
    old = select(windows.c.id, windows.c.parent_id).where(
        windows.c.customer_id == customer_id, windows.c.id <= upto, windows.c.created_at < before_us
    )
    some = old.order_by(windows.c.id).limit(most_rows + 1).subquery()
    newest = select(func.max(some.c.id)).where(some.c.parent_id.is_(None)).scalar_subquery()
    gone = select(some.c.id).where(or_(some.c.id < newest, some.c.parent_id.is_not(None)))
    return conn.execute(delete(windows).where(windows.c.id.in_(gone))).rowcount


def delete_quarantined(conn: Connection, customer_id: int, before_us: int, most_rows: int) -> int:
    """Delete quarantined rows that came, and were last replayed, before that; returns how many.

    The books are told, and so is the proof against the stream, which looks for rows by offset.
    """
    rows = quarantine.c
    gone = conn.execute(
        delete(quarantine)
        .where(rows.id.in_(old_quarantined(customer_id, before_us).limit(most_rows)))
        .returning(rows.id, rows.row, rows.stream_offset)
    ).all()
    if not gone:
        return 0
    conn.execute(
        delete(quarantine_notes).where(quarantine_notes.c.quarantine_id.in_([row.id for row in gone]))
    )
    offsets = [row.stream_offset for row in gone if row.row is None]
    mine = folded.c.customer_id == customer_id
    change = update(folded).where(mine)
    conn.execute(
        change.values(
            pruned_quarantined_batches=folded.c.pruned_quarantined_batches + len(offsets),
            pruned_quarantined_events=folded.c.pruned_quarantined_events + len(gone) - len(offsets),
        )
    )
    below = max(offsets, default=-1) + 1
    conn.execute(change.where(folded.c.quarantine_pruned_below < below).values(quarantine_pruned_below=below))
    return len(gone)


def old_quarantined(of: Of, before: Of) -> Select[tuple[int]]:
    """Their ids, for `delete_quarantined`."""
    rows = quarantine.c
    untouched = or_(rows.replayed_at.is_(None), rows.replayed_at < before)
    old = select(rows.id).where(rows.customer_id == of, rows.created_at < before, untouched)
    return old.order_by(rows.created_at)


def delete_results(conn: Connection, table: Table, customer_id: int, before: datetime, most_rows: int) -> int:
    """Delete result rows of times before that, and book the events they stood for; returns how many rows."""
    # Rollups are read, merged and written back under this lock: none may go in between.
    lock = select(deposits.c.next_offset).where(deposits.c.customer_id == customer_id)
    conn.execute(lock.with_for_update())
    mine, key = table.c.customer_id == customer_id, table.primary_key.columns
    some = old_results(table, customer_id, before).with_only_columns(*key).limit(most_rows)
    old = delete(table).where(mine, tuple_(*key).in_(some))
    gone = conn.execute(old.returning(_stood_for(table))).scalars().all()
    booked = folded.c[f"pruned_{table.name}"]
    change = update(folded).where(folded.c.customer_id == customer_id)
    conn.execute(change.values({booked: booked + sum(gone)}))
    return len(gone)


def old_results(table: Table, of: Of, before: Time) -> Select[tuple[datetime]]:
    """Their times, for `delete_results`."""
    time = table.c[partitions.TIMES.get(table.name, "started_at")]
    return select(time).where(table.c.customer_id == of, time < before)


def _stood_for(table: Table) -> ColumnElement[int]:
    """The number of events that a row stands for."""
    if table in (events, logs):
        return literal(1)
    return table.c.events if table is interactions else table.c["count"]

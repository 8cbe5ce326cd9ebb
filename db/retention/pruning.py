"""Forgetting what is old enough, in short transactions, without unbalancing the books."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TypeVar

import structlog
from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    Table,
    delete,
    func,
    literal,
    or_,
    select,
    tuple_,
    update,
)
from sqlalchemy.exc import DBAPIError

from db.clock import DAY_US
from db.customers import own_retention
from db.customers.rows import Customer, present
from db.engine import begin, look, read
from db.errors import DatabaseUnavailable, Lost
from db.ledger import costs
from db.quarantine import budget
from db.retention import partitions, retired_partitions
from db.retention.folding import fold
from db.settings import DatabaseSettings
from db.tables import (
    batches,
    deposits,
    events,
    folded,
    interactions,
    quarantine,
    quarantine_notes,
    rollups,
    windows,
)

log = structlog.get_logger(__name__)

MOST_FAILURES = 20
"""In a round, which ends then: each may have waited for a lock. The next one goes on behind it."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruned:
    """Rows that were deleted, and partitions that were dropped with theirs. `failed`: how often a kind of
    work was left to the next time. `reached`: where to go on.
    """

    batches: int
    windows: int
    results: int
    quarantined: int
    partitions: int
    failed: int
    reached: str


def prune(
    engine: Engine,
    settings: DatabaseSettings,
    now_us: int,
    *,
    most_rows: int = 5_000,
    after: str = "",
    most_customers: int | None = None,
) -> Pruned:
    """Fold and forget, `most_rows` a transaction; to be called every minute or so.

    For the next `most_customers` whose slugs come after `after`, all of them when not said; `reached` is the
    last one's slug, empty when there is none behind it. What fails, fails for itself: it is logged, and all
    else goes on. Raises DatabaseUnavailable where the database is away; what was committed before it stays
    so.
    """
    with read(engine) as conn:
        customers = present(conn)
    isolated = _IsolatedWork(engine=engine)
    isolated.do("partitions ahead", "", lambda: partitions.make_ahead(engine))
    # First, since a dropped partition need not be deleted row by row.
    oldest = min((_kept_from(one, now_us) for one in customers), default=None)
    dropped = isolated.do("old partitions", "", lambda: retired_partitions.drop(engine, oldest)) or 0
    isolated.do("costs", "", lambda: _forget_costs(engine, now_us))
    left = [one for one in customers if one.slug > after]
    counts, reached = [], ""
    for at, one in enumerate(left):
        if at == most_customers or isolated.failed >= MOST_FAILURES:
            reached = left[at - 1].slug if at else after
            break
        counts.append(_prune_customer(engine, settings, one, now_us, most_rows, isolated))
    return Pruned(
        reached=reached,
        batches=sum(count[0] for count in counts),
        windows=sum(count[1] for count in counts),
        results=sum(count[2] for count in counts),
        quarantined=sum(count[3] for count in counts),
        partitions=dropped,
        failed=isolated.failed,
    )


@dataclass(kw_only=True)
class _IsolatedWork:
    """Kinds of work of which one's failure is no other's."""

    engine: Engine
    failed: int = 0

    def do(self, what: str, slug: str, work: Callable[[], T]) -> T | None:
        """Its outcome, None when it failed. Raises DatabaseUnavailable where the database is away."""
        try:
            return work()
        except (DatabaseUnavailable, Lost, DBAPIError) as error:
            with look(self.engine) as conn:
                conn.execute(select(1))
            reason = type(error).__name__
            log.error("pruning_failed", what=what, customer=slug, reason=reason, detail=str(error)[:200])
            self.failed += 1
            return None


def forget_batches(conn: Connection, customer_id: int, before_us: int, most_rows: int) -> int:
    """Forget batch ids booked, and accepted, before that; returns how many. Such an id counts as new again.

    Receivers of earlier releases say by their own clocks when a batch was accepted, which may be days slow;
    when it was booked is by the ledger's. One that is fast only keeps ids for longer.
    A replay's id stays while the replay may be repeated, and until its last repeat is as old.
    """
    mine = batches.c.customer_id == customer_id
    repeatable = select(quarantine.c.id).where(
        quarantine.c.customer_id == customer_id,
        quarantine.c.replayed_as == batches.c.batch_id,
        or_(quarantine.c.state == "replaying", quarantine.c.replayed_at >= before_us),
    )
    booked_before = or_(batches.c.booked_at.is_(None), batches.c.booked_at < before_us)
    old = select(batches.c.batch_id).where(
        mine, batches.c.accepted_at < before_us, booked_before, ~repeatable.exists()
    )
    some = old.order_by(batches.c.accepted_at).limit(most_rows)
    return conn.execute(delete(batches).where(mine, batches.c.batch_id.in_(some))).rowcount


def remembered_from(conn: Connection, customer_id: int, now_us: int, days: int) -> int:
    """What was accepted before this may be forgotten: `days` before the newest batch that was dispatched.

    The stream's time and not the clock's, so that after a long pause a repeat that lies a minute behind its
    first in the stream is still known.
    """
    newest = select(func.max(batches.c.accepted_at)).where(batches.c.customer_id == customer_id)
    return min(conn.execute(newest).scalar_one() or 0, now_us) - days * DAY_US


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
    untouched = or_(rows.replayed_at.is_(None), rows.replayed_at < before_us)
    old = select(rows.id).where(rows.customer_id == customer_id, rows.created_at < before_us, untouched)
    gone = conn.execute(
        delete(quarantine)
        .where(rows.id.in_(old.order_by(rows.created_at).limit(most_rows)))
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


def delete_results(conn: Connection, table: Table, customer_id: int, before: datetime, most_rows: int) -> int:
    """Delete result rows of times before that, and book the events they stood for; returns how many rows."""
    # Rollups are read, merged and written back under this lock: none may go in between.
    lock = select(deposits.c.next_offset).where(deposits.c.customer_id == customer_id)
    conn.execute(lock.with_for_update())
    time, stood_for = _columns(table)
    mine, key = table.c.customer_id == customer_id, table.primary_key.columns
    some = select(*key).where(mine, time < before).limit(most_rows)
    gone = (
        conn.execute(delete(table).where(mine, tuple_(*key).in_(some)).returning(stood_for)).scalars().all()
    )
    booked = folded.c[f"pruned_{table.name}"]
    change = update(folded).where(folded.c.customer_id == customer_id)
    conn.execute(change.values({booked: booked + sum(gone)}))
    return len(gone)


def _forget_costs(engine: Engine, now_us: int) -> None:
    """A transaction for each period: after a day without housekeeping, all of them are millions of rows."""
    while True:
        with begin(engine) as conn:
            if not costs.forget(conn, now_us):
                return


def _columns(table: Table) -> tuple[ColumnElement[datetime], ColumnElement[int]]:
    """The time that retention looks at, and the number of events that a row stands for."""
    if table is interactions:
        return table.c.started_at, table.c.events
    return (table.c.minute, table.c["count"]) if table is rollups else (table.c.started_at, literal(1))


def _prune_customer(
    engine: Engine,
    settings: DatabaseSettings,
    customer: Customer,
    now_us: int,
    most_rows: int,
    isolated: _IsolatedWork,
) -> tuple[int, int, int, int]:
    """Rows of batches, windows, results and quarantine that are gone."""
    of, kept_from = customer.id, _kept_from(customer, now_us)
    kept_days = own_retention.days(customer, settings)
    quarantined_from = now_us - kept_days["quarantine"] * DAY_US
    windows_from = now_us - settings.windows_days * DAY_US

    def in_slices(what: str, some: Callable[[Connection], int]) -> int:
        total = 0

        def slice_() -> int:
            with begin(engine) as conn:
                return some(conn)

        while True:
            rows = isolated.do(what, customer.slug, slice_)
            total += rows or 0
            if rows is None or rows < most_rows:
                return total

    def fold_and_look() -> int:
        with begin(engine) as conn:
            fold(conn, of)
            budget.forget(conn, of, quarantined_from)
            return remembered_from(conn, of, now_us, kept_days["ids"])

    batches_from = isolated.do("ledger", customer.slug, fold_and_look)
    gone = [0, 0, 0]
    if batches_from is not None:
        # Quarantine not before its batch id is forgotten: a receipt needs both.
        rows_from = min(quarantined_from, batches_from)
        gone = [
            in_slices("batch ids", lambda conn: forget_batches(conn, of, batches_from, most_rows)),
            in_slices("windows", lambda conn: delete_windows(conn, of, windows_from, most_rows)),
            in_slices("quarantine", lambda conn: delete_quarantined(conn, of, rows_from, most_rows)),
        ]
    results = sum(
        in_slices(
            table.name,
            partial(delete_results, table=table, customer_id=of, before=kept_from, most_rows=most_rows),
        )
        for table in (interactions, rollups, events)
    )
    return gone[0], gone[1], results, gone[2]


def _kept_from(customer: Customer, now_us: int) -> datetime:
    return datetime.fromtimestamp(now_us / 1e6, UTC) - timedelta(days=customer.retention_days)

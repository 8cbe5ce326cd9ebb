"""Forgetting what is old enough, in short transactions, without unbalancing the books."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, Engine

from db.customers import public_key_use, quota_use
from db.customers.rows import present
from db.engine import begin, read
from db.ledger import costs
from db.quarantine import budget
from db.retention import partitions, retired_partitions
from db.retention.bounds import RetentionBounds, bounds, kept_from
from db.retention.folding import fold
from db.retention.forgetting import (
    delete_quarantined,
    delete_results,
    delete_windows,
    forget_batches,
    remembered_from,
)
from db.retention.isolated_work import IsolatedWork
from db.retention.overdue import RESULTS, Overdue, find
from db.settings import DatabaseSettings

MOST_FAILURES = 20
"""In a round, which ends then: each may have waited for a lock. The next one goes on behind it."""
AT_ONCE = 500
"""Customers of whom it is looked up together whether there is anything to do."""


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
    isolated = IsolatedWork(engine=engine)
    isolated.do("partitions ahead", "", lambda: partitions.make_ahead(engine))
    # First, since a dropped partition need not be deleted row by row.
    oldest = min((kept_from(one, now_us) for one in customers), default=None)
    dropped = isolated.do("old partitions", "", lambda: retired_partitions.drop(engine, oldest)) or 0
    isolated.do("costs", "", lambda: _forget_costs(engine, now_us))
    isolated.do("days of use", "", lambda: _forget_use(engine, now_us))
    left = [one for one in customers if one.slug > after]
    turn = [bounds(one, settings, now_us) for one in left[:most_customers]]
    counts: list[tuple[int, int, int, int]] = []
    for at, one in enumerate(turn):
        if isolated.failed >= MOST_FAILURES:
            break
        if at % AT_ONCE == 0:
            overdue = find(engine, turn[at : at + AT_ONCE], isolated)
        counts.append(_prune_customer(engine, one, overdue, most_rows, isolated))
    done = len(counts)
    reached = left[done - 1].slug if done else after
    return Pruned(
        reached=reached if done < len(left) else "",
        batches=sum(count[0] for count in counts),
        windows=sum(count[1] for count in counts),
        results=sum(count[2] for count in counts),
        quarantined=sum(count[3] for count in counts),
        partitions=dropped,
        failed=isolated.failed,
    )


def _forget_costs(engine: Engine, now_us: int) -> None:
    """A transaction for each period: after a day without housekeeping, all of them are millions of rows."""
    while True:
        with begin(engine) as conn:
            if not costs.forget(conn, now_us):
                return


def _forget_use(engine: Engine, now_us: int) -> None:
    """What counted against quotas and the caps of public keys."""
    with begin(engine) as conn:
        quota_use.forget(conn, now_us)
        public_key_use.forget(conn, now_us)


def _prune_customer(
    engine: Engine, of: RetentionBounds, overdue: Overdue, most_rows: int, isolated: IsolatedWork
) -> tuple[int, int, int, int]:
    """Rows of batches, windows, results and quarantine that are gone."""
    slug, customer_id = of.customer.slug, of.customer.id

    def in_slices(what: str, some: Callable[[Connection], int]) -> int:
        total = 0

        def slice_() -> int:
            with begin(engine) as conn:
                return some(conn)

        while customer_id in overdue[what]:
            rows = isolated.do(what, slug, slice_)
            total += rows or 0
            if rows is None or rows < most_rows:
                break
        return total

    def fold_and_look() -> int:
        with begin(engine) as conn:
            if customer_id in overdue["unfolded windows"]:
                fold(conn, customer_id)
            if customer_id in overdue["quarantine's days"]:
                budget.forget(conn, customer_id, of.quarantined_from)
            return remembered_from(conn, customer_id, of.now_us, of.ids_days)

    gone = [0, 0, 0]
    batches_from = isolated.do("ledger", slug, fold_and_look) if customer_id in overdue["ledger"] else None
    if batches_from is not None:
        ids_from, windows_from, rows_from = batches_from, of.windows_from, of.rows_from(batches_from)
        gone = [
            in_slices("batch ids", lambda conn: forget_batches(conn, customer_id, ids_from, most_rows)),
            in_slices("windows", lambda conn: delete_windows(conn, customer_id, windows_from, most_rows)),
            in_slices("quarantine", lambda conn: delete_quarantined(conn, customer_id, rows_from, most_rows)),
        ]
    some_results = partial(
        delete_results, customer_id=customer_id, before=of.results_from, most_rows=most_rows
    )
    results = sum(in_slices(table.name, partial(some_results, table=table)) for table in RESULTS)
    return gone[0], gone[1], results, gone[2]

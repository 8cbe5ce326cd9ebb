"""Who has something to fold or to forget: asked of many customers at once, since nearly always few have.

A look takes the first row or two of each customer from an index that begins with the customer, however many
rows there are. It finds those of whom the work of its kind would do something, by the same query.

Windows have no index by age. They are recorded in the order of their ids, so that the first ones are the
oldest. Parts of those that were split are as old as the whole, and have an index of their own.
"""

from collections.abc import Callable, Mapping, Sequence, Set
from functools import partial
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Engine,
    FromClause,
    Select,
    Table,
    and_,
    literal,
    or_,
    select,
    tuple_,
)

from db.clock import DAY_US
from db.engine import look
from db.ledger.windows import open_ids
from db.retention.bounds import RetentionBounds
from db.retention.forgetting import days_before, old_batches, old_quarantined, old_results
from db.retention.isolated_work import IsolatedWork
from db.retention.questions import Question
from db.tables import (
    batches,
    events,
    exceptions,
    folded,
    interactions,
    log_rollups,
    logs,
    quarantine_days,
    rollups,
    split_rollups,
    windows,
)

Overdue = Mapping[str, Set[int]]
"""By kind of work, the customers of whom it would do something, or of whom that could not be looked up."""

Look = Callable[[Connection, Sequence[RetentionBounds]], Overdue]

RESULTS = (interactions, rollups, exceptions, split_rollups, events, logs, log_rollups)
"""The tables whose names are kinds of work."""
_LEDGER = ("unfolded windows", "quarantine's days", "batch ids", "windows", "quarantine")
_LAST_ID = 2**63 - 1


def _any(asked: FromClause, old: Select[Any]) -> Select[Any]:
    return select(asked.c.customer_id).where(old.limit(1).scalar_subquery().is_not(None))


_Behind = Callable[[FromClause, ColumnElement[int]], ColumnElement[bool]]


def _behind(asked: FromClause, after: ColumnElement[int]) -> ColumnElement[bool]:
    """Windows after that one, those of the next customers too: when asked for one customer's in the order of
    ids, PostgreSQL may rather go through everybody's.
    """
    return tuple_(windows.c.customer_id, windows.c.id) > tuple_(asked.c.customer_id, after)


def _behind_on_sqlite(asked: FromClause, after: ColumnElement[int]) -> ColumnElement[bool]:
    """It does not look a pair up in an index whose second column is the row id."""
    return and_(windows.c.customer_id == asked.c.customer_id, windows.c.id > after)


def _next_closed(asked: FromClause, behind: ColumnElement[bool], *more: ColumnElement[bool]) -> Select[Any]:
    """Whether the next window is closed for good, that customer's, and more."""
    mine = and_(windows.c.customer_id == asked.c.customer_id, windows.c.id <= asked.c.upto, *more)
    by_id = select(mine).where(behind).order_by(windows.c.customer_id, windows.c.id).limit(1)
    return by_id.with_hint(windows, "INDEXED BY ix_windows_customer_id_id", "sqlite")


def _unfolded(asked: FromClause, behind: _Behind) -> Select[Any]:
    joined = asked.join(folded, folded.c.customer_id == asked.c.customer_id)
    first = _next_closed(asked, behind(asked, folded.c.upto_window_id))
    return select(asked.c.customer_id).select_from(joined).where(first.scalar_subquery())


def _old_windows(asked: FromClause, behind: _Behind) -> Select[Any]:
    """Of those that were recorded the second one counts, since one stays."""
    old = windows.c.created_at < asked.c.before
    recorded = _next_closed(asked, behind(asked, literal(0)), old).where(windows.c.parent_id.is_(None))
    part = select(windows.c.id).where(
        windows.c.customer_id == asked.c.customer_id,
        windows.c.parent_id.is_not(None),
        windows.c.id <= asked.c.upto,
        old,
    )
    some_part = part.order_by(windows.c.first_offset).limit(1).scalar_subquery()
    return select(asked.c.customer_id).where(
        or_(recorded.offset(1).scalar_subquery(), some_part.is_not(None))
    )


def _newest_batch(asked: FromClause) -> Select[Any]:
    mine = select(batches.c.accepted_at).where(batches.c.customer_id == asked.c.customer_id)
    newest = mine.order_by(batches.c.accepted_at.desc()).limit(1)
    return select(asked.c.customer_id, newest.scalar_subquery())


def _old_batches(asked: FromClause) -> Select[Any]:
    return _any(asked, old_batches(asked.c.customer_id, asked.c.before))


def _old_quarantined(asked: FromClause) -> Select[Any]:
    return _any(asked, old_quarantined(asked.c.customer_id, asked.c.before))


def _old_days(asked: FromClause) -> Select[Any]:
    day = quarantine_days.c.day
    mine = select(day).where(quarantine_days.c.customer_id == asked.c.customer_id, day < asked.c.before)
    return _any(asked, mine.order_by(day))


def _old_results(asked: FromClause, table: Table) -> Select[Any]:
    old = old_results(table, asked.c.customer_id, asked.c.time)
    return _any(asked, old.order_by(*old.selected_columns))


_UNFOLDED = Question(
    partial(_unfolded, behind=_behind),
    *("customer_id", "upto"),
    sqlite=partial(_unfolded, behind=_behind_on_sqlite),
)
_OLD_WINDOWS = Question(
    partial(_old_windows, behind=_behind),
    *("customer_id", "before", "upto"),
    sqlite=partial(_old_windows, behind=_behind_on_sqlite),
)
_NEWEST_BATCH = Question(_newest_batch, "customer_id")
_OLD_BATCHES = Question(_old_batches, "customer_id", "before")
_OLD_QUARANTINED = Question(_old_quarantined, "customer_id", "before")
_OLD_DAYS = Question(_old_days, "customer_id", "before")
_OLD_RESULTS = {
    table.name: Question(partial(_old_results, table=table), "customer_id", "time") for table in RESULTS
}


def _windows(conn: Connection, asked: Sequence[RetentionBounds]) -> Overdue:
    """A window is closed for good below the oldest open one."""
    of_open = open_ids(conn, [one.customer.id for one in asked])
    closed = [(one, min(of_open.get(one.customer.id, (_LAST_ID,))) - 1) for one in asked]
    return {
        "unfolded windows": _UNFOLDED.who(conn, [(one.customer.id, upto) for one, upto in closed]),
        "windows": _OLD_WINDOWS.who(
            conn, [(one.customer.id, one.windows_from, upto) for one, upto in closed]
        ),
    }


def _batches(conn: Connection, asked: Sequence[RetentionBounds]) -> Overdue:
    found = _NEWEST_BATCH.answers(conn, [(one.customer.id,) for one in asked])
    newest: dict[int, int | None] = dict(map(tuple, found))
    froms = [(one, days_before(newest[one.customer.id], one.now_us, one.ids_days)) for one in asked]
    quarantined = [(one.customer.id, one.rows_from(batches_from)) for one, batches_from in froms]
    return {
        "batch ids": _OLD_BATCHES.who(conn, [(one.customer.id, of) for one, of in froms]),
        "quarantine": _OLD_QUARANTINED.who(conn, quarantined),
    }


def _quarantine_days(conn: Connection, asked: Sequence[RetentionBounds]) -> Overdue:
    days = [(one.customer.id, one.quarantined_from // DAY_US) for one in asked]
    return {"quarantine's days": _OLD_DAYS.who(conn, days)}


def _results(conn: Connection, asked: Sequence[RetentionBounds], name: str) -> Overdue:
    return {name: _OLD_RESULTS[name].who(conn, [(one.customer.id, one.results_from) for one in asked])}


LOOKS: Mapping[str, Look] = {
    "windows": _windows,
    "batches": _batches,
    "quarantine's days": _quarantine_days,
    **{table.name: partial(_results, name=table.name) for table in RESULTS},
}
"""By what they look for."""


def find(engine: Engine, asked: Sequence[RetentionBounds], isolated: IsolatedWork) -> Overdue:
    """All looks; `ledger` is the work of any kind that has to do with batches or windows.

    Raises DatabaseUnavailable where the database is away.
    """
    everyone = {one.customer.id for one in asked}
    overdue: dict[str, Set[int]] = dict.fromkeys((*_LEDGER, *(one.name for one in RESULTS)), everyone)
    for what, found in LOOKS.items():
        overdue |= isolated.do(f"look for {what}", "", partial(_looked, engine, found, asked)) or {}
    return overdue | {"ledger": set().union(*(overdue[kind] for kind in _LEDGER))}


def _looked(engine: Engine, found: Look, asked: Sequence[RetentionBounds]) -> Overdue:
    with look(engine) as conn:
        return found(conn, asked)

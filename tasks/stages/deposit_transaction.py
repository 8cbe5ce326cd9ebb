"""The deposit's transaction: results, quarantine, ledger and cursor, together or not at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import structlog
from sqlalchemy import Connection

import db.customers.public_key_events
import db.engine
import db.ledger.breaker
import db.ledger.costs
import db.ledger.deposits
import db.quarantine.rows
import db.results
from db.clock import now_us
from db.ledger.costs import CustomerCost
from db.ledger.deposits import DepositedWindow, DepositState, Owed
from tasks.errors import Tripped
from tasks.events import WHOLE
from tasks.handover import Header, ProcessedWindow
from tasks.processors import (
    NO_EXCEPTIONS,
    NO_SPLIT_ROLLUPS,
    merge_exceptions,
    merge_interactions,
    merge_rollups,
    merge_split_rollups,
)
from tasks.stages import processor_time
from tasks.stages.breaker import failures, tripped
from tasks.stages.context import Context
from tasks.stages.key_events import summed
from tasks.stages.processed_results import OwedResult

log = structlog.get_logger("worker")

MINUTE_US = 60_000_000
_Ready = OwedResult | ProcessedWindow


@dataclass(frozen=True, kw_only=True)
class CursorMove:
    """Whose deposit this is, and from where to where it moves the cursor of the processed stream."""

    customer_id: int
    state: DepositState
    before: int
    after: int


def book(context: Context, move: CursorMove, ready: Sequence[OwedResult]) -> None:
    """Write these windows' results and move the cursor.

    Raises `LostRace` when the cursor is not at `move.before` any more, and `Tripped` when so much failed
    that the breaker has to open: nothing is written then.
    """
    with context.measures.working(move.state.slug, "deposit"), context.tracer.child("deposit"):
        _book(context, move, ready)


def _book(context: Context, move: CursorMove, ready: Sequence[OwedResult]) -> None:
    began_us = processor_time.now_us()
    _prepare(context, ready)
    of = move.customer_id
    with db.engine.begin(context.engine) as connection:
        # Asked again: a window that was split meanwhile is not owed any more, its halves are.
        owed = db.ledger.deposits.take(
            connection, of, move.before, move.after, [one.header.window_id for one in ready]
        )
        fresh = [one for one in ready if _is_owed(one.header, owed)]
        _check_breaker(connection, context, move, fresh)
        withheld = db.quarantine.rows.add(
            connection,
            of,
            [row for one in fresh for row in one.quarantined],
            daily_bytes=context.settings.quarantine_daily_bytes,
        )
        at_us = _close(connection, [(of, fresh, _merged(fresh))], owed, began_us) if fresh else 0
    # Dying here, before Celery's ack, rings once more: the window is found deposited and nothing happens.
    _count(context, move.state.slug, fresh, owed, at_us)
    if withheld:
        context.measures.withheld(move.state.slug, len(withheld))
        log.warning("quarantine_bytes_withheld", customer=move.state.slug, rows=len(withheld))


def book_group(context: Context, ready: Sequence[ProcessedWindow]) -> set[int]:
    """Write these results, of a window of each customer, in one transaction; returns the windows written.

    The others' customers are busy or halted, or nothing is owed any more. No cursor is moved: it counts what
    lies in a processed stream. A deposit from there finds the windows closed, as one finds those of another.
    """
    if not ready:
        return set()
    slugs = [one.header.customer for one in ready]
    with context.measures.working_together(slugs, "deposit"), context.tracer.child("deposit"):
        return _book_group(context, ready)


def _book_group(context: Context, ready: Sequence[ProcessedWindow]) -> set[int]:
    began_us = processor_time.now_us()
    _prepare(context, ready)
    with db.engine.begin(context.engine) as connection:
        free = db.ledger.deposits.lock(connection, [one.header.customer_id for one in ready])
        of = [one.header.window_id for one in ready]
        # The results are of these very windows: whoever replaces one gives it another id or token.
        owed = db.ledger.deposits.undeposited(connection, sorted(free), of) if free else {}
        fresh = [one for one in ready if _is_owed(one.header, owed)]
        alone = [(one.header.customer_id, [one], _alone(one)) for one in fresh]
        at_us = _close(connection, alone, owed, began_us) if fresh else 0
    # Dying here, before Celery's ack, delivers the group again: its windows are found deposited.
    for one in fresh:
        _count(context, one.header.customer, [one], owed, at_us)
    return {one.header.window_id for one in fresh}


def _prepare(context: Context, ready: Sequence[_Ready]) -> None:
    """The partitions that these results need."""

    def tables(name: str) -> list[pa.Table]:
        return [one.tables[name] for one in ready if name in one.tables]

    db.results.prepare(
        context.engine,
        tables("events"),
        tables("rollups"),
        exceptions=tables("exceptions"),
        split_rollups=tables("split_rollups"),
        logs=tables("logs"),
        log_rollups=tables("log_rollups"),
    )


def _is_owed(header: Header, owed: Mapping[int, Owed]) -> bool:
    found = owed.get(header.window_id)
    return found is not None and found.token == header.token


def _alone(one: ProcessedWindow) -> "_Results":
    """What one window left needs no merging."""
    tables, of = one.tables, one.header.window_id
    logs = _placed(of, tables["logs"]) if "logs" in tables else None
    events = _placed(of, _whole(tables["events"]))
    return _Results(
        tables["interactions"],
        tables["rollups"],
        events,
        tables.get("exceptions", NO_EXCEPTIONS),
        tables.get("split_rollups", NO_SPLIT_ROLLUPS),
        logs,
        tables.get("log_rollups"),
    )


def _count(
    context: Context, slug: str, fresh: Sequence[_Ready], owed: Mapping[int, Owed], at_us: int
) -> None:
    """In the metrics; a process that dies here has deposited what it has not counted."""
    if fresh:
        context.measures.deposited(
            slug,
            [one.header for one in fresh],
            sum(one.nbytes for one in fresh),
            [(at_us - owed[one.header.window_id].first_accepted_at) / 1e6 for one in fresh],
        )


def open_breaker(context: Context, move: CursorMove, reason: str) -> None:
    """Dispatch and deposits of the customer stop until an operator resumes it."""
    with db.engine.begin(context.engine) as connection:
        opened = db.ledger.breaker.trip(connection, move.customer_id, reason, now_us(connection))
    if opened:
        context.measures.breaker_opened(move.state.slug)
        log.error("breaker_opened", customer=move.state.slug, reason=reason)


def _check_breaker(
    connection: Connection, context: Context, move: CursorMove, fresh: Sequence[OwedResult]
) -> None:
    accepted_upto = move.state.accepted_upto
    judged = [one.header for one in fresh if one.first_offset > accepted_upto]
    if not any(failures(header) for header in judged):
        return
    past = db.ledger.breaker.outcomes(
        connection, move.customer_id, now_us(connection) - MINUTE_US, accepted_upto
    )
    reason = tripped(past, judged, context.settings)
    if reason is not None:
        raise Tripped(reason)


class _Results(NamedTuple):
    """What a customer's windows left, a row once; of log records None where no window has any."""

    interactions: pa.Table
    rollups: pa.Table
    events: pa.Table
    exceptions: pa.Table
    split_rollups: pa.Table
    logs: pa.Table | None
    log_rollups: pa.Table | None


def _merged(ready: Sequence[OwedResult]) -> _Results:
    """The windows' results, merged in memory."""
    return _Results(
        merge_interactions([one.tables["interactions"] for one in ready]),
        merge_rollups([one.tables["rollups"] for one in ready]),
        pa.concat_tables([_placed(one.header.window_id, _whole(one.tables["events"])) for one in ready]),
        merge_exceptions([one.tables["exceptions"] for one in ready if "exceptions" in one.tables]),
        merge_split_rollups([one.tables["split_rollups"] for one in ready if "split_rollups" in one.tables]),
        _concatenated(
            [_placed(one.header.window_id, one.tables["logs"]) for one in ready if "logs" in one.tables]
        ),
        _concatenated([one.tables["log_rollups"] for one in ready if "log_rollups" in one.tables]),
    )


def _concatenated(tables: Sequence[pa.Table]) -> pa.Table | None:
    return pa.concat_tables(tables) if tables else None


def _close(
    connection: Connection,
    written: Sequence[tuple[int, Sequence[_Ready], _Results]],
    owed: Mapping[int, Owed],
    began_us: int,
) -> int:
    """Write what the customers' windows left, each customer given once by its id, and close the windows;
    returns the time (µs) that is noted with them.
    """
    tables = {name: _everyones(written, name) for name in _Results._fields}
    with db.results.writing(connection, **tables):
        at_us = now_us(connection)
        own_us = (processor_time.now_us() - began_us) // len(written)
        costs = {of: _cost(ready, owed, own_us) for of, ready, _ in written}
        db.ledger.costs.add(connection, costs, at_us)
        events = summed(one.header for _, ready, _ in written for one in ready)
        db.customers.public_key_events.add(connection, events)
        closing = [_deposited(one.header) for _, ready, _ in written for one in ready]
        marked = db.ledger.deposits.marking(connection, closing, at_us)
    marked()
    return at_us


def _everyones(written: Sequence[tuple[int, Sequence[_Ready], _Results]], name: str) -> pa.Table | None:
    """One of the tables that `_close` writes; None where nobody has any."""
    tables = ((of, getattr(left, name)) for of, _, left in written)
    return _concatenated([db.results.of_customer(of, table) for of, table in tables if table is not None])


def _whole(events: pa.Table) -> pa.Table:
    """With nulls for details that the results lack, as those of an earlier release do; no other columns."""
    there = set(events.column_names)
    columns = [
        events[field.name] if field.name in there else pa.nulls(len(events), field.type) for field in WHOLE
    ]
    return pa.table(columns, schema=WHOLE)


def _placed(window_id: int, rows: pa.Table) -> pa.Table:
    """A window's events, or log records, with the key of their rows: window_id (int64), position (int32)."""
    window_ids = pa.repeat(pa.scalar(window_id, pa.int64()), len(rows))
    positions = pa.arange(0, len(rows)).cast(pa.int32())
    return rows.append_column("window_id", window_ids).append_column("position", positions)


def _cost(ready: Sequence[_Ready], owed: Mapping[int, Owed], own_us: int) -> CustomerCost:
    """Of these windows; `own_us` is what this deposit has taken."""
    headers = [one.header for one in ready]
    return CustomerCost(
        windows=len(headers),
        batches=sum(header.batches for header in headers),
        events=sum(header.decoded for header in headers),
        bytes=sum(owed[header.window_id].bytes for header in headers),
        processor_us=own_us + sum(header.processor_us for header in headers),
    )


def _deposited(header: Header) -> DepositedWindow:
    return DepositedWindow(
        id=header.window_id,
        batches=header.batches,
        decoded=header.decoded,
        kept=header.kept,
        kept_logs=header.kept_logs,
        dropped=sum(header.dropped.values()),
        rejected=len(header.rejects),
        quarantined=len(header.unfit),
        failures=failures(header),
    )

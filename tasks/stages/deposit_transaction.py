"""The deposit's transaction: results, quarantine, ledger and cursor, together or not at all."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import structlog
from sqlalchemy import Connection

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
from tasks.handover import Header
from tasks.processors import merge_interactions, merge_rollups
from tasks.stages import processor_time
from tasks.stages.breaker import failures, tripped
from tasks.stages.context import Context
from tasks.stages.processed_results import OwedResult

log = structlog.get_logger("worker")

MINUTE_US = 60_000_000


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
    tables = [one.tables for one in ready]
    db.results.prepare(
        context.engine, [each["events"] for each in tables], [each["rollups"] for each in tables]
    )
    of = move.customer_id
    with db.engine.begin(context.engine) as connection:
        db.ledger.deposits.advance(connection, of, move.before, move.after)
        # Asked again: a window that was split meanwhile is not owed any more, its halves are.
        owed = db.ledger.deposits.undeposited(connection, of, [one.header.window_id for one in ready])
        tokens = {window_id: one.token for window_id, one in owed.items()}
        fresh = [one for one in ready if tokens.get(one.header.window_id) == one.header.token]
        _check_breaker(connection, context, move, fresh)
        _write(connection, of, fresh)
        withheld = db.quarantine.rows.add(
            connection,
            of,
            [row for one in fresh for row in one.quarantined],
            daily_bytes=context.settings.quarantine_daily_bytes,
        )
        at_us = now_us(connection)
        db.ledger.deposits.mark(connection, [_deposited(one.header) for one in fresh], at_us)
        if fresh:
            own_us = processor_time.now_us() - began_us
            db.ledger.costs.add(connection, of, at_us, _cost(fresh, owed, own_us))
    # Dying here, before Celery's ack, rings once more: the window is found deposited and nothing happens.
    _count(context, move.state.slug, fresh, owed, at_us)
    if withheld:
        context.measures.withheld(move.state.slug, len(withheld))
        log.warning("quarantine_bytes_withheld", customer=move.state.slug, rows=len(withheld))


def _count(
    context: Context, slug: str, fresh: Sequence[OwedResult], owed: Mapping[int, Owed], at_us: int
) -> None:
    """In the metrics; a process that dies here has deposited what it has not counted."""
    if fresh:
        context.measures.deposited(
            slug,
            [one.header for one in fresh],
            sum(table.nbytes for one in fresh for table in one.tables.values()),
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


def _write(connection: Connection, customer_id: int, ready: Sequence[OwedResult]) -> None:
    """Merge the windows' results in memory, then write each row of them once."""
    if not ready:
        return
    interactions = merge_interactions([one.tables["interactions"] for one in ready])
    rollups = merge_rollups([one.tables["rollups"] for one in ready])
    events = pa.concat_tables([_placed(one) for one in ready])
    db.results.write_interactions(connection, customer_id, interactions)
    db.results.write_rollups(connection, customer_id, rollups)
    db.results.write_events(connection, customer_id, events)


def _placed(one: OwedResult) -> pa.Table:
    """The window's events with the key of their rows: window_id (int64) and position (int32)."""
    events = one.tables["events"]
    window_ids = pa.repeat(pa.scalar(one.header.window_id, pa.int64()), len(events))
    positions = pa.arange(0, len(events)).cast(pa.int32())
    return events.append_column("window_id", window_ids).append_column("position", positions)


def _cost(ready: Sequence[OwedResult], owed: Mapping[int, Owed], own_us: int) -> CustomerCost:
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
        dropped=sum(header.dropped.values()),
        rejected=len(header.rejects),
        quarantined=len(header.unfit),
        failures=failures(header),
    )

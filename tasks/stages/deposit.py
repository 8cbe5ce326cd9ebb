"""Stage three: everything that is ready in a customer's processed stream, into the database, once."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import structlog

import db.engine
import db.ledger.bad_ends
import db.ledger.deposits
import db.ledger.windows
from db.errors import LostRace, NoCustomer
from db.ledger.deposits import Owed
from streams import Message, processed
from streams.errors import StreamEnds, StreamMissing
from tasks.errors import Tripped
from tasks.handover import Header
from tasks.stages.context import Context
from tasks.stages.deliveries import Decision, Delivery, DeliveryAction, decided
from tasks.stages.deposit_transaction import CursorMove, book, open_breaker
from tasks.stages.gone import is_gone
from tasks.stages.processed_results import OwedResult, PackedResult, ready, unpacked, window_of
from tasks.stages.quarantine_rows import quarantine_rows
from tasks.stages.split import renew, split

log = structlog.get_logger("worker")


def run(context: Context, customer_id: int, window_id: int, delivery: Delivery) -> None:
    """Deposit `window_id` and what is ready before it; returns when it is in the database, by whomever, or
    when it stays owed: its customer's breaker is open, or it is left for later; or when its customer was
    deleted.

    The cursor of the processed stream moves by compare-and-set in the transaction that writes the rows. Of
    two deposits at once one wins; the other finds the cursor moved and looks again. Raises
    `streams.errors.StreamEnds` when the window's results are not in the stream.
    """
    if delivery.died_of is not None:
        with db.engine.begin(context.engine) as connection:
            db.ledger.bad_ends.died_trying(connection, customer_id, delivery.id, delivery.died_of)
    while True:
        try:
            with db.engine.look(context.engine) as connection:
                state = db.ledger.deposits.state(connection, customer_id, window_id)
        except NoCustomer:
            return
        if state.halted or not state.owed:
            return
        before = state.next_offset
        move = CursorMove(customer_id=customer_id, state=state, before=before, after=before)
        try:
            messages = _read_results(context, state.slug, before, window_id)
            if window_id in deposit(context, move, messages, delivery):
                return
        except LostRace:
            continue
        except Tripped as tripped:
            open_breaker(context, move, tripped.reason)
            return
        except StreamMissing:
            if is_gone(context, customer_id):
                return
            raise
        except StreamEnds as error:
            if before == 0 or (error.end is not None and error.end + 1 >= before):
                raise
            _start_over(context, customer_id, before, error)


def deposit(context: Context, move: CursorMove, messages: Sequence[Message], delivery: Delivery) -> set[int]:
    """Write what the ledger still lacks of `messages` and move the cursor past them, in one transaction.

    When a deposit of any of them ended badly before, in a transaction for each: so that one that ends this
    one, too, is known. Returns the windows that are written or left for later. Raises `LostRace` when the
    cursor is not at `move.before` any more and `Tripped` when too much of it failed: then nothing is
    written.
    """
    packed = [each for message in messages if (each := unpacked(message))]
    owed = _owed(context, move.customer_id, packed)
    end = replace(move, after=messages[-1].offset + 1)
    if delivery.again or any(one.suspect for one in owed.values()):
        return _one_by_one(context, end, packed, delivery)
    portion, after = _portion(context, packed, owed)
    book(context, replace(end, after=after or end.after), portion)
    return {one.header.window_id for one in portion}


def _portion(
    context: Context, packed: Sequence[PackedResult], owed: Mapping[int, Owed]
) -> tuple[list[OwedResult], int | None]:
    """What is owed, in the order of the windows, and the offset behind it where bytes end the deposit: those
    that go to quarantine, since windows of unfit batches only are small results of large batches, or those of
    the tables, which are packed where they lie.
    """
    taken: dict[int, OwedResult] = {}
    settings = context.settings
    held_bytes = table_bytes = 0
    for one in packed:
        window_id = one.header.window_id
        # A window that was rung twice can be there twice.
        if window_id in taken or not one.fits(owed):
            continue
        taken[window_id] = ready(one, owed, quarantine_rows(context, one.header))
        held_bytes += sum(len(row.bytes) for row in taken[window_id].quarantined)
        table_bytes += taken[window_id].nbytes
        if held_bytes > 2 * settings.handover_bytes or table_bytes > settings.decoded_bytes:
            return [taken[each] for each in sorted(taken)], one.offset + 1
    return [taken[each] for each in sorted(taken)], None


def _one_by_one(
    context: Context, move: CursorMove, packed: Sequence[PackedResult], delivery: Delivery
) -> set[int]:
    """As `deposit`, and a window that must not be deposited is passed over: its results are made again."""
    settled = set()
    for one in packed:
        window_id = one.header.window_id
        owed = _owed(context, move.customer_id, [one])
        if not one.fits(owed):
            continue
        with db.engine.look(context.engine) as connection:
            work = db.ledger.windows.work(connection, window_id)
        if work is None:
            continue
        with decided(context, work, delivery, alone=True) as decision:
            match _action(one.header, decision):
                case DeliveryAction.WORK:
                    upto = replace(move, after=one.offset + 1)
                    book(context, upto, [ready(one, owed, quarantine_rows(context, one.header))])
                    move = replace(move, before=upto.after)
                    settled.add(window_id)
                case DeliveryAction.SPLIT:
                    split(context, work, decision.bad_ends)
                case DeliveryAction.REFUSE:
                    renew(context, work, decision.bad_ends)
                case DeliveryAction.LEAVE:
                    settled.add(window_id)
    if move.before < move.after:
        book(context, move, [])
    return settled


def _action(header: Header, decision: Decision) -> DeliveryAction:
    """A window that was refused is written unread, unless even that has ended deliveries since."""
    if not header.refused:
        return decision.action
    return DeliveryAction.WORK if decision.bad_ends.deaths <= header.deaths else DeliveryAction.LEAVE


def _read_results(context: Context, slug: str, first: int, window_id: int) -> list[Message]:
    """The results from `first` up to those of `window_id`, and what came in the same chunk.

    Stops at the end of a chunk after `deposit_windows` windows or two hand-overs' worth of bytes; the
    caller comes again for the rest.
    """
    settings = context.settings
    seen_bytes = 0

    def enough(message: Message) -> bool:
        nonlocal seen_bytes
        seen_bytes = len(message.data) + (0 if message.offset == first else seen_bytes)
        full = message.offset >= first + settings.deposit_windows or seen_bytes > 2 * settings.handover_bytes
        return full or window_of(message) == window_id

    return context.broker.read_until(processed(slug), first, enough, deadline_s=settings.read_deadline_s)


def _owed(context: Context, customer_id: int, packed: Sequence[PackedResult]) -> dict[int, Owed]:
    with db.engine.look(context.engine) as connection:
        return db.ledger.deposits.undeposited(
            connection, [customer_id], [one.header.window_id for one in packed]
        )


def _start_over(context: Context, customer_id: int, before: int, error: StreamEnds) -> None:
    """The processed stream is shorter than the cursor: it was replaced, or lost its end with the power.

    What it holds is read again from its beginning; the ledger says what of it is still owed.
    """
    log.error("processed_stream_shorter_than_cursor", cursor=before, end=error.end, stream=error.stream)
    with suppress(LostRace), db.engine.begin(context.engine) as connection:
        db.ledger.deposits.advance(connection, customer_id, before, 0)

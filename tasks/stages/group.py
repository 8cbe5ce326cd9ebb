"""All stages of a group: windows of several customers that one task works on and one transaction deposits.

A customer's window costs as much as thousands of events, whatever it holds: messages, reads, transactions.
The small windows of many customers share them. Their results lie in no stream on the way; what is left of a
group that dies is in the raw streams, and owed.

No window of a group can harm another one. Whatever is not plain leaves the group and goes its customer's own
way, by the chain that each window could have had from the beginning: what can't be read, does not fit, has
something for quarantine, or belongs to a customer whose deposits are under way or halted. A group that was
delivered before is not worked on again: each of its windows is rung alone, so that a death is held against
the right one.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

import structlog
from amqp.exceptions import ChannelError
from kombu.exceptions import OperationalError

import db.engine
import db.ledger.windows
from db.ledger.windows import Work
from streams import Message, raw
from streams.errors import BrokerUnavailable
from streams.reading.read_range import Range, RangeRead
from tasks.carried import Messages, unpack
from tasks.chains import ring, ring_deposit
from tasks.decoders import decode_windows
from tasks.errors import NotWhatWasBooked, WindowTooLarge
from tasks.handover import DecodedWindow, ProcessedWindow
from tasks.stages import processor_time
from tasks.stages.context import Context
from tasks.stages.decode import ReadWindow, limits_of
from tasks.stages.deliveries import Delivery, suspect
from tasks.stages.deposit_transaction import book_group
from tasks.stages.process import publish, results
from tasks.stages.split import offsets

log = structlog.get_logger("worker")

READ_S = 3.0  # for all reads of a group: who has no leader, or a slow one, leaves it


def run(context: Context, window_ids: Sequence[int], delivery: Delivery, carried: bytes = b"") -> None:
    """The windows are in the database, or rung alone, when this returns. `carried`: as `tasks.carried.pack`.

    Raises `streams.errors.BrokerUnavailable` or `db.errors.DatabaseUnavailable` when the broker or the
    database is away: what was not deposited is rung again by the dispatcher.
    """
    works = _due(context, window_ids)
    fit = [] if delivery.again else [work for work in works if _plain(work)]
    for work in fit:
        context.measures.delivered(work.slug, delivery.kind)
    decoded = _decoded(context, fit, unpack(carried))
    ready = _deposited_together(context, decoded)
    deposited = book_group(context, ready)
    left = _due(context, [work.window.id for work in works if work.window.id not in deposited])
    context.measures.grouped(deposited=len(deposited), left=len(left))
    reached = dict.fromkeys(decoded, "process") | {one.header.window_id: "deposit" for one in ready}
    for work in left:
        of = work.window.id
        log.info("left_group", window=of, customer=work.slug, at=reached.get(of, "decode"))
        _alone(context, work, decoded.get(of))


def _due(context: Context, window_ids: Sequence[int]) -> list[Work]:
    if not window_ids:
        return []
    with db.engine.look(context.engine) as connection:
        return [work for work in db.ledger.windows.works(connection, window_ids) if work.due]


def _plain(work: Work) -> bool:
    """Whether nothing is held against the window, and it was not rung alone meanwhile."""
    return work.window.rings <= 1 and not suspect(work.window) and not work.routes


def _decoded(
    context: Context, works: Sequence[Work], carried: Mapping[int, Messages]
) -> dict[int, DecodedWindow]:
    """By window; without those that can't be read or decoded now, and those for which there is no room:
    together they take what one window may take.
    """
    windows = _read_windows(context, works, carried)
    if not windows:
        return {}
    began_us, slugs = processor_time.now_us(), [one.work.slug for one in windows]
    with suppress(WindowTooLarge), context.measures.working_together(slugs, "decode"):
        found = decode_windows([one.batches() for one in windows], limits_of(context.settings))
        return {
            one.work.window.id: _charged(one.decoded(decoded), began_us, among=len(windows))
            for one, decoded in zip(windows, found, strict=True)
        }
    return _decoded_apart(context, windows)


def _decoded_apart(context: Context, windows: Sequence[ReadWindow]) -> dict[int, DecodedWindow]:
    """One after the other, as many as there is room for."""
    found = {}
    room = context.settings.decoded_bytes
    for one in windows:
        began_us = processor_time.now_us()
        with suppress(WindowTooLarge), context.measures.working(one.work.slug, "decode"):
            (decoded,) = decode_windows([one.batches()], limits_of(context.settings))
            if decoded.nbytes <= room:
                room -= decoded.nbytes
                found[one.work.window.id] = _charged(one.decoded(decoded), began_us)
    return found


def _charged(decoded: DecodedWindow, began_us: int, *, among: int = 1) -> DecodedWindow:
    return decoded._replace(header=processor_time.charged(decoded.header, began_us, among=among))


def _read_windows(
    context: Context, works: Sequence[Work], carried: Mapping[int, Messages]
) -> list[ReadWindow]:
    found = {work.window.id: _carried(work, carried) for work in works}
    found |= _read(context, [work for work in works if not found[work.window.id]])
    windows = []
    for work in works:
        messages = found[work.window.id]
        if isinstance(messages, Exception):
            reason = type(messages).__name__
            log.info("window_not_read", window=work.window.id, customer=work.slug, reason=reason)
            continue
        due = set(offsets(work.window))
        with suppress(NotWhatWasBooked):
            windows.append(ReadWindow.of(work, [one for one in messages if one.offset in due]))
    return windows


def _carried(work: Work, carried: Mapping[int, Messages]) -> RangeRead:
    """The window's messages if all came with the doorbell and its row can tell whether it is they."""
    messages, due = carried.get(work.window.id, {}), offsets(work.window)
    if work.window.fingerprints is None or messages.keys() != set(due):
        return []
    return [Message(offset, memoryview(messages[offset])) for offset in due]


def _read(context: Context, works: Sequence[Work]) -> dict[int, RangeRead]:
    """By window, from the raw streams."""
    if not works:
        return {}
    ranges: list[Range] = []
    for work in works:
        due = offsets(work.window)
        ranges.append((raw(work.slug), due[0], due[-1]))
    messages = context.broker.read_each(ranges, within_s=READ_S)
    return {work.window.id: read for work, read in zip(works, messages, strict=True)}


def _deposited_together(context: Context, decoded: dict[int, DecodedWindow]) -> list[ProcessedWindow]:
    """The results that one transaction can take: those of which nothing goes to quarantine, in so many bytes
    as one window may hand over.
    """
    by_pipeline: defaultdict[str, list[DecodedWindow]] = defaultdict(list)
    for handed in decoded.values():
        header = handed.header
        if not (header.unfit or header.rejects or header.spoilt):
            by_pipeline[header.pipeline].append(handed)
    taken: list[ProcessedWindow] = []
    room = context.settings.handover_bytes
    for same in by_pipeline.values():
        for processed in _processed(context, same):
            if processed.nbytes <= room:
                room -= processed.nbytes
                taken.append(processed)
    return taken


def _processed(context: Context, windows: Sequence[DecodedWindow]) -> list[ProcessedWindow]:
    """Of windows with the same pipeline; what can't be done together is done one after the other, without
    those that are too large even so.
    """
    try:
        return _processed_together(context, windows)
    except Exception as error:
        if len(windows) == 1 and isinstance(error, WindowTooLarge):
            return []
        if len(windows) == 1:
            raise
        log.info("processed_apart", windows=len(windows), reason=type(error).__name__)
        return [processed for one in windows for processed in _processed(context, [one])]


def _processed_together(context: Context, windows: Sequence[DecodedWindow]) -> list[ProcessedWindow]:
    began_us, slugs = processor_time.now_us(), [one.header.customer for one in windows]
    with context.measures.working_together(slugs, "process"):
        found = results(windows, context.settings.decoded_bytes)
    return [
        replace(one, header=processor_time.charged(one.header, began_us, among=len(windows))) for one in found
    ]


def _alone(context: Context, work: Work, decoded: DecodedWindow | None) -> None:
    """Let the window go its own way, from where it is: a message that is lost is sent again."""
    of = (work.window.id, work.window.customer_id, work.slug, work.routes)
    with suppress(OperationalError, ChannelError):
        if decoded is not None:
            with suppress(BrokerUnavailable):
                if publish(context, decoded):
                    ring_deposit(context.app, *of)
                return
        ring(context.app, *of)

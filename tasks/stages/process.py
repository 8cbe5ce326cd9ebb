"""Stage two: a window's events in, its results in the customer's processed stream."""

from collections.abc import Sequence
from contextlib import suppress
from functools import lru_cache

import msgspec

import db.engine
import db.ledger.windows
from db.errors import LostRace
from db.ledger.windows import Work
from pipelines import Pipeline, parse
from streams import encode_result, processed
from streams.errors import StreamMissing
from tasks.errors import WindowTooLarge
from tasks.handover import DecodedWindow, Header, ProcessedWindow, pack, peek
from tasks.processors import Processed, process_logs, process_windows, with_logs
from tasks.settings import TaskSettings
from tasks.stages import processor_time
from tasks.stages.context import Context
from tasks.stages.decode import TOO_LARGE, refuse
from tasks.stages.deliveries import Delivery, DeliveryAction, decided, grounds
from tasks.stages.gone import is_gone
from tasks.stages.split import split

_pipeline = lru_cache(maxsize=1024)(parse)


def run(context: Context, data: bytes, delivery: Delivery) -> bool:
    """`publish` what was handed over as bytes. What is held against the window counts here, too.

    Raises as `publish` does.
    """
    header, tables = peek(data)
    if not (delivery.again or header.suspect):
        return publish(context, DecodedWindow.of(header, tables))
    work = _work(context, header)
    if work is None:
        return False
    with suppress(LostRace), decided(context, work, delivery) as decision:
        match decision.action:
            case DeliveryAction.WORK:
                return publish(context, DecodedWindow.of(header, tables))
            case DeliveryAction.REFUSE:
                return publish(context, refuse(work, *grounds(decision.bad_ends), decision.bad_ends.deaths))
            case DeliveryAction.SPLIT:
                split(context, work, decision.bad_ends)
    return False


def publish(context: Context, handed: DecodedWindow) -> bool:
    """Process a decoded window and publish its results; False when the window needs no deposit from here: it
    was split, deposited meanwhile, or has to wait, or its customer was deleted.

    Returns after the broker's confirm. Dying after it and before Celery's ack publishes the results once
    more; the deposit takes a window's results once. Raises `streams.errors.BrokerUnavailable` when the broker
    is away.
    """
    header = handed.header
    with context.measures.working(header.customer, "process"), context.tracer.child("process"):
        return _published(context, handed)


def _published(context: Context, handed: DecodedWindow) -> bool:
    header = handed.header
    try:
        packed = process(handed, context.settings)
    except WindowTooLarge:
        work = _work(context, header)
        if work is None or split(context, work):
            return False
        refused = refuse(work, TOO_LARGE, "its results do not fit into one hand-over")
        _, packed = _packed(refused, context.settings.decoded_bytes)  # of no event: it has to fit
    message = encode_result(header.window_id, header.customer, packed)
    try:
        context.broker.publish(
            processed(header.customer), message, deadline_s=context.settings.publish_deadline_s
        )
    except StreamMissing:
        if is_gone(context, header.customer_id):
            return False
        raise
    return True


def _work(context: Context, header: Header) -> Work | None:
    """The window as it is now; None when this hand-over is not owed any more."""
    with db.engine.look(context.engine) as connection:
        work = db.ledger.windows.work(connection, header.window_id)
    return work if work is not None and work.due and work.window.token == header.token else None


def process(handed: DecodedWindow, settings: TaskSettings) -> bytes:
    """As `results`, packed. Raises `WindowTooLarge` for tables above `settings.decoded_bytes`, or above
    `settings.handover_bytes` when packed: what repeats itself is a hundred times as large unpacked.
    """
    size, packed = _packed(handed, settings.decoded_bytes)
    if size > settings.decoded_bytes or len(packed) > settings.handover_bytes:
        raise WindowTooLarge
    return packed


def _packed(handed: DecodedWindow, most_bytes: int) -> tuple[int, bytes]:
    """As `results`: how many bytes their tables take, and all of it packed."""
    began_us = processor_time.now_us()
    (left,) = results([handed], most_bytes)
    return left.nbytes, pack(processor_time.charged(left.header, began_us), left.tables)


def results(windows: Sequence[DecodedWindow], most_bytes: int) -> list[ProcessedWindow]:
    """Apply the pipeline that is pinned in the windows, the same in all, to their events; returns the results
    of each. Raises `WindowTooLarge` when the details of what is kept of all take more than `most_bytes`.
    """
    pipeline: Pipeline = _pipeline(windows[0].header.pipeline)
    outcomes = process_windows([handed.events for handed in windows], pipeline, most_bytes)
    return [_processed(handed, outcome, pipeline) for handed, outcome in zip(windows, outcomes, strict=True)]


def _processed(handed: DecodedWindow, outcome: Processed, pipeline: Pipeline) -> ProcessedWindow:
    if handed.logs is None:
        return _left(handed, outcome)
    of_logs = process_logs(handed.logs, pipeline)
    left = _left(handed, with_logs(outcome, of_logs))
    header, count = left.header, len(handed.logs)
    return ProcessedWindow(
        msgspec.structs.replace(header, kept=header.kept + count, kept_logs=count),
        {**left.tables, "logs": of_logs.logs, "log_rollups": of_logs.rollups},
    )


def _left(handed: DecodedWindow, outcome: Processed) -> ProcessedWindow:
    header = msgspec.structs.replace(handed.header, kept=outcome.kept, dropped=outcome.dropped, pipeline="")
    tables = {"interactions": outcome.interactions, "rollups": outcome.rollups, "events": outcome.events}
    # What few windows have does not travel empty; workers of earlier releases leave it out, too.
    few = {"exceptions": outcome.exceptions, "split_rollups": outcome.split_rollups}
    tables |= {name: table for name, table in few.items() if len(table)}
    return ProcessedWindow(header, tables)

"""Splitting a window: what it holds is too large to be handed over in one piece, or kills workers."""

from collections.abc import Sequence

import structlog

import db.engine
import db.ledger.windows
from db.errors import LostRace
from db.ledger.bad_ends import BadEnds
from db.ledger.windows import Part, Window, Work
from tasks.chains import ring
from tasks.stages.context import Context

log = structlog.get_logger("worker")


def offsets(window: Window) -> list[int]:
    """The offsets of the window's batches: those between its first and last that are not skipped."""
    skipped = set(window.skipped)
    return [offset for offset in range(window.first_offset, window.last_offset + 1) if offset not in skipped]


def halves(window: Window, *, deliveries: int = 0) -> Sequence[Part]:
    """Two parts that cover the window's offsets without gap or overlap; empty when it holds a single
    batch. `deliveries` are held against each part from its beginning.
    """
    own = offsets(window)
    if len(own) < 2:
        return ()
    middle = own[len(own) // 2]
    bounds = ((window.first_offset, middle - 1), (middle, window.last_offset))
    return [_part(window, first, last, own, deliveries) for first, last in bounds]


def _part(window: Window, first: int, last: int, own: Sequence[int], deliveries: int) -> Part:
    batches = sum(first <= offset <= last for offset in own)
    return Part(
        first_offset=first,
        last_offset=last,
        skipped=[offset for offset in window.skipped if first <= offset <= last],
        batches=batches,
        bytes=window.bytes * batches // len(own),
        deliveries=deliveries,
    )


def split(context: Context, work: Work, bad_ends: BadEnds | None = None) -> bool:
    """Replace a window by its halves and ring them; False when it holds one batch and can't be split.

    Of the window's `bad_ends`, or those in its row, the halves inherit so many that one more splits them
    again. Dying between the commit and the doorbells leaves two recorded windows that the dispatcher rings.
    """
    deliveries = work.window.deliveries if bad_ends is None else bad_ends.deliveries
    parts = halves(work.window, deliveries=min(deliveries, context.settings.deliveries - 2))
    if not parts:
        return False
    _replace(context, work, parts)
    return True


def renew(context: Context, work: Work, bad_ends: BadEnds) -> None:
    """Replace a window by one that is the same but for its token, and ring it: results that are on their way
    are none of the new one's. It inherits the `bad_ends` of the old one.
    """
    window = work.window
    part = Part(
        first_offset=window.first_offset,
        last_offset=window.last_offset,
        skipped=window.skipped,
        batches=window.batches,
        bytes=window.bytes,
        deliveries=bad_ends.deliveries,
        deaths=bad_ends.deaths,
        cause=bad_ends.cause,
    )
    _replace(context, work, [part])


def _replace(context: Context, work: Work, parts: Sequence[Part]) -> None:
    try:
        with db.engine.begin(context.engine) as connection:
            children = db.ledger.windows.split(connection, work.window.id, parts)
    except LostRace:  # the window was rung twice and the other delivery was quicker
        return
    for child in children:
        ring(
            context.app,
            window_id=child,
            customer_id=work.window.customer_id,
            slug=work.slug,
            routes=work.routes,
            headers=context.tracer.headers(work.slug),
        )
    log.info("window_split", window=work.window.id, children=children)

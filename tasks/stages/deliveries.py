"""What becomes of a window whose deliveries end badly: split until the guilty batch is alone, then refused.

A first delivery costs nothing. Later ones, and those of the parts of a window that was split for this reason,
are counted in the ledger before their work begins; see `db.ledger.bad_ends`. A window of many batches that
has used up its deliveries is split, whatever ended them: that harms no innocent batch. A batch that is alone
is refused only for *deaths*, which a worker's parent saw; for restarts it is merely left to be rung again
later.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from typing import Any, NamedTuple

import structlog

import db.engine
import db.ledger.bad_ends
from db.errors import DatabaseUnavailable
from db.ledger.bad_ends import BadEnds
from db.ledger.windows import Window, Work
from tasks.errors import Tripped
from tasks.measures.stages import DeliveryKind
from tasks.stages.context import Context
from tasks.worker.failures import is_external
from tasks.worker.requests import CAUSE, WORKER_DIED

log = structlog.get_logger("worker")


class Delivery(NamedTuple):
    """How a message came to this worker.

    `redelivered` by the broker, which says nothing of why; or marked by a worker's parent: `died_of` is
    the cause of the death that ended the delivery before this one.
    """

    id: str
    redelivered: bool = False
    died_of: str | None = None

    @property
    def kind(self) -> DeliveryKind:
        """As it is counted."""
        if self.died_of is not None:
            return "after_death"
        return "redelivered" if self.redelivered else "first"

    @property
    def again(self) -> bool:
        """Whether there was a delivery before this one, however it ended."""
        return self.redelivered or self.died_of is not None


class DeliveryAction(Enum):
    """What to do with a window that was delivered; the values are the log's, as `turn`."""

    WORK = "work"
    SPLIT = "cut"  # in two, and let the parts come one by one
    REFUSE = "refuse"  # send its only batch to quarantine
    LEAVE = "leave"  # nothing now; the dispatcher rings it again, later each time


class Decision(NamedTuple):
    """What to do, and the `bad_ends` that the ledger counts against the window, this delivery's included."""

    action: DeliveryAction
    bad_ends: BadEnds


def delivery(request: Any) -> Delivery:
    """Read from a task's request (`celery.app.task.Context`)."""
    redelivered = bool((request.delivery_info or {}).get("redelivered"))
    cause: str | None = getattr(request, CAUSE, None)
    # A marked message that the broker delivers once more tells of a death that was counted already.
    return Delivery(request.id, redelivered, None if redelivered else cause)


def suspect(window: Window) -> bool:
    """Whether deliveries of the window, or of one that it is a part of, ended badly."""
    return window.deliveries > 0 or window.deaths > 0


def grounds(bad_ends: BadEnds) -> tuple[str, str]:
    """Reason and detail with which a batch is refused for the bad ends of its deliveries."""
    reason, _, what = (bad_ends.cause or f"{WORKER_DIED}: unknown").partition(": ")
    return reason, f"ended {bad_ends.deaths} deliveries of its own, the last by {what}"


@contextmanager
def decided(context: Context, work: Work, how: Delivery, *, alone: bool = False) -> Iterator[Decision]:
    """What to do with an open window that was delivered; wrap the work in it.

    When the work ends well, or for an external reason, nothing of this delivery is held against the window.
    When this process dies or meets another error, the count stays. With `alone`, this is a deposit, which
    takes one window after the other: a death before it is that of the window which it was at. Raises LostRace
    for a window that is not open any more, `db.errors.DatabaseUnavailable`.
    """
    window = work.window
    if not (how.again or window.rings > 1 or suspect(window)):
        yield Decision(DeliveryAction.WORK, BadEnds(0, 0, None))
        return
    died_of, tried_by = (None, how.id) if alone else (how.died_of, None)
    with db.engine.begin(context.engine) as connection:
        bad_ends = db.ledger.bad_ends.count(connection, window.id, died_of=died_of, tried_by=tried_by)
    decision = Decision(_action(context, work, how, bad_ends), bad_ends)
    if decision.action is not DeliveryAction.WORK:
        log.warning(
            "window_suspected",
            customer=work.slug,
            window=window.id,
            turn=decision.action.value,
            **bad_ends._asdict(),
        )
    try:
        yield decision
    except Exception as error:
        if is_external(error) or isinstance(error, Tripped):
            _take_back(context, window, tried_by)
        raise
    if decision.action is not DeliveryAction.SPLIT:
        _take_back(context, window, tried_by)


def _action(context: Context, work: Work, how: Delivery, bad_ends: BadEnds) -> DeliveryAction:
    bound = context.settings.deliveries
    if work.window.batches > 1:
        return DeliveryAction.SPLIT if bad_ends.deliveries >= bound else DeliveryAction.WORK
    if bad_ends.deaths >= bound:
        return DeliveryAction.REFUSE
    return DeliveryAction.LEAVE if bad_ends.deliveries >= bound and how.redelivered else DeliveryAction.WORK


def _take_back(context: Context, window: Window, tried_by: str | None) -> None:
    with suppress(DatabaseUnavailable), db.engine.begin(context.engine) as connection:
        db.ledger.bad_ends.take_back(connection, window.id, tried_by)

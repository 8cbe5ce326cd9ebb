"""Ringing windows: when they are recorded, and again when their deposit is overdue."""

import time
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import structlog
from amqp.exceptions import ChannelError, MessageNacked
from celery import Celery
from kombu.exceptions import OperationalError
from sqlalchemy import Engine

import db.engine
import db.ledger.windows
from db.clock import now_us
from db.customers.routes import leading_to
from db.customers.rows import Customer, own_queue
from tasks.carried import Messages, pack
from tasks.chains import ring, ring_group
from tasks.dispatcher.raw_streams.feed import Feed, LastRing
from tasks.dispatcher.scheduling.queue_depth import Queues
from tasks.measures.dispatching import DispatchMeasures
from tasks.queues import queue_name
from tasks.settings import TaskSettings
from tracing import CUSTOMER, Attributes, Tracer

log = structlog.get_logger("dispatcher")

FIRST_RING_S = 5.0  # windows found in flight at the start are rung after this: were they ever rung?


class RungWindow(NamedTuple):
    """A window that was recorded just now; those of one `group` share a doorbell, which carries `messages`,
    all of the window's or none.
    """

    id: int
    customer: Customer
    feed: Feed
    group: int | None
    messages: Messages


@dataclass(frozen=True, kw_only=True)
class Doorbells:
    """Sends the chains of windows. Raises kombu's OperationalError when the broker is away."""

    app: Celery
    engine: Engine
    queues: Queues
    settings: TaskSettings
    measures: DispatchMeasures = field(default_factory=DispatchMeasures)
    tracer: Tracer = field(default_factory=partial(Tracer, "dispatcher"))

    def found(self, window_ids: Iterable[int]) -> dict[int, LastRing]:
        """Windows that were in flight before, to be rung soon."""
        since = time.monotonic() - self.settings.stale_after_s + FIRST_RING_S
        return dict.fromkeys(window_ids, LastRing(since))

    def ring_new(self, windows: Sequence[RungWindow], started_ns: int) -> None:
        """Ring windows that were recorded just now, those of a group together. As `ring`."""
        groups: dict[int, list[RungWindow]] = {}
        for one in windows:
            if one.group is not None:
                groups.setdefault(one.group, []).append(one)
        together = [group for group in groups.values() if len(group) > 1 and self._ring_group(group)]
        rung = {one.id for group in together for one in group}
        for one in windows:
            if one.id not in rung:
                self.ring(one.customer, one.id, started_ns)

    def _ring_group(self, windows: Sequence[RungWindow]) -> bool:
        """False when the queue of shared workers can't be used: each window has its customer's own then."""
        first = windows[0].id
        for one in windows:
            one.feed.in_flight[one.id] = LastRing(time.monotonic(), group=first)
        try:
            ring_group(
                self.app,
                {one.id: one.customer.slug for one in windows},
                pack((one.id, one.messages) for one in windows),
            )
        except (ChannelError, OperationalError) as error:
            log.error("queue_refused", queue=self.app.conf.task_default_queue, detail=_refusal(error))
            return False
        return True

    def ring(self, customer: Customer, window_id: int, started_ns: int | None = None) -> None:
        """`started_ns`: when a new window was about to be recorded, ns since 1970; None for a later ring."""
        try:
            with self._traced(customer, window_id, started_ns):
                carried = self.tracer.headers(customer.slug)
                ring(self.app, window_id, customer.id, customer.slug, customer.routes, carried)
        except (ChannelError, OperationalError) as error:
            # This customer's queue can't be used as it is: the others go on, this window is rung again later.
            detail = _refusal(error)
            self.measures.queue_refused(customer.slug)
            log.error("queue_refused", customer=customer.slug, detail=detail)

    def _traced(
        self, customer: Customer, window_id: int, started_ns: int | None
    ) -> AbstractContextManager[None]:
        if not self.tracer.traces(customer.slug):
            return nullcontext()
        attributes: Attributes = {
            CUSTOMER: customer.slug,
            "sluice.window": window_id,
            "messaging.system": "rabbitmq",
            "messaging.destination.name": queue_name(customer.slug, "decode", customer.routes),
            "messaging.operation.type": "send",
            "messaging.operation.name": "ring",
        }
        name = "ring" if started_ns is None else "dispatch"
        return self.tracer.span(name, "producer", attributes, started_ns=started_ns)

    def ring_stale(self, customer: Customer, feed: Feed) -> None:
        """Ring windows again whose deposit is overdue, unless their doorbells still wait in the own queue."""
        now = time.monotonic()
        stale = [
            i
            for i, last_ring in feed.in_flight.items()
            if now - last_ring.at_s >= self._stale_after_s(last_ring)
        ]
        if stale and self._waiting(customer) < len(stale):
            self._again(customer, feed, stale)

    def ring_all(self, customer: Customer, feed: Feed) -> None:
        """Ring all windows in flight: their customer's routes changed."""
        if feed.in_flight:
            self._again(customer, feed, sorted(feed.in_flight))

    def _waiting(self, customer: Customer) -> int:
        """Doorbells in the own queue; when no stage goes there, nobody consumes what a route left in it."""
        own = own_queue(customer.slug)
        return self.queues.waiting(own) if own in leading_to(customer) else 0

    def _again(self, customer: Customer, feed: Feed, window_ids: list[int]) -> None:
        now = time.monotonic()
        for window_id in window_ids:
            self.ring(customer, window_id)
            feed.in_flight[window_id] = LastRing(now, feed.in_flight[window_id].repeats + 1)
        with db.engine.begin(self.engine) as connection:
            db.ledger.windows.note_ring(connection, window_ids, now_us(connection))
        self.measures.rung_again(feed.slug, len(window_ids))
        log.warning("windows_rung_again", customer=feed.slug, windows=len(window_ids), first=window_ids[0])

    def _stale_after_s(self, last_ring: LastRing) -> float:
        longest = max(self.settings.stale_after_s, float(self.settings.task_time_limit_s))
        return min(self.settings.stale_after_s * 2.0 ** min(last_ring.repeats, 10), longest)


def _refusal(error: ChannelError | OperationalError) -> str:
    """What the broker said of a queue that it refuses; raises the error when that is not what it says."""
    cause = error.__cause__ if isinstance(error, OperationalError) else error
    if not isinstance(cause, (ChannelError, MessageNacked)):
        raise error
    return str(cause)[:200] or "the queue rejects messages"

"""The dispatcher's loop: leases, feeds, cuts, windows, doorbells."""

import time
from contextlib import suppress
from dataclasses import dataclass, field

import structlog
from amqp.exceptions import AccessRefused, AMQPError, PreconditionFailed
from celery import Celery
from kombu.exceptions import OperationalError
from sqlalchemy import Connection, Engine

import db.customers
import db.dispatch
import db.engine
import db.errors
import db.windows
import db.workers
import streams.errors
from db.customers import Customer
from db.dispatch import NewQuarantine
from streams import Broker, Subscription, raw
from tasks.chains import ring
from tasks.dispatcher.cutter import Pending
from tasks.dispatcher.feed import Feed, Rung
from tasks.dispatcher.leases import Leases
from tasks.dispatcher.queue_depth import Queues
from tasks.dispatcher.recorder import Cut, quarantine_rows, record, sort
from tasks.dispatcher.turns import Turns
from tasks.queues import PREFIX
from tasks.settings import TaskSettings

log = structlog.get_logger("dispatcher")

AWAY = (
    db.errors.Unavailable,
    streams.errors.Unavailable,
    streams.errors.StreamEnds,
    OperationalError,
    AMQPError,
    OSError,
)
ROUND_S = 0.005  # the shortest round: what comes within it is taken together
POLL_S = 0.02  # how often a full customer's windows in flight are looked at
IDLE_S = 0.25  # the longest wait of a round
RETRY_S = 1.0  # the pause after the broker or the database was found away
CREDIT = 16  # chunks a feed lets the broker send ahead
FIRST_RING_S = 5.0  # windows found in flight at the start are rung after this: were they ever rung?


@dataclass(kw_only=True)
class Dispatcher:
    """Serves the customers whose leases it holds. Everything it remembers can be rebuilt from the
    database.
    """

    app: Celery
    engine: Engine
    broker: Broker
    settings: TaskSettings
    leases: Leases
    queues: Queues
    stopping: bool = False
    _customers: dict[int, Customer] = field(default_factory=dict)
    _feeds: dict[int, Feed] = field(default_factory=dict)
    _feed_of: dict[Subscription, Feed] = field(default_factory=dict)
    _turns: Turns = field(init=False)
    _next_tick_s: float = 0.0
    _next_poll_s: float = 0.0

    def __post_init__(self) -> None:
        self._turns = Turns(settings=self.settings)

    def run(self) -> None:
        """Turn until `stopping` is set; then give the leases back."""
        while not self.stopping:
            try:
                self.turn()
            except db.errors.LostLease:
                continue  # nothing of the round was kept; the customers that are still ours go on
            except AWAY as error:
                log.warning("dispatch_waited", reason=type(error).__name__, detail=str(error)[:200])
                self._forget()
                time.sleep(RETRY_S)
        self._close()

    def turn(self) -> None:
        """One round: take what has come, record the windows that are due, ring them."""
        started = time.monotonic()
        if started >= self._next_tick_s:
            self._tick()
            self._next_tick_s = time.monotonic() + self.settings.tick_s
        for subscription in self.broker.wait(self._patience()):
            self._collect(subscription)
        self._poll()
        self._dispatch(list(self._turns.due(self._feeds)))
        time.sleep(max(0.0, ROUND_S - (time.monotonic() - started)))

    def _collect(self, subscription: Subscription) -> None:
        feed = self._feed_of.get(subscription)
        if feed is None:
            return
        try:
            feed.collect()
        except streams.errors.UnfitMessage as error:
            log.error("chunk_not_understood", customer=feed.slug, detail=str(error)[:200])
            self._drop(feed)
        if subscription.missing:
            log.error("stream_missing", customer=feed.slug, stream=subscription.stream)
            self._drop(feed)

    def _tick(self) -> None:
        with db.engine.begin(self.engine) as connection:
            self._customers = {customer.id: customer for customer in db.customers.served(connection)}
            self.leases.tick(connection, set(self._customers))
            self._turns.pace.learn(db.windows.yields(connection))
            processes = db.workers.processes(connection, time.time_ns() // 1000 - db.workers.SILENT_US)
        self._turns.learn(self._customers, processes)
        for customer_id, feed in list(self._feeds.items()):
            if self.leases.held.get(customer_id) != feed.epoch:
                self._drop(feed)
        for customer_id, epoch in self.leases.held.items():
            if customer_id not in self._feeds:
                self._open(self._customers[customer_id], epoch)
        for feed in self._feeds.values():
            self._ring_stale(feed)

    def _open(self, customer: Customer, epoch: int) -> None:
        with db.engine.read(self.engine) as connection:
            position = db.dispatch.position(connection, customer.id)
            open_windows = db.windows.open_ids(connection, [customer.id]).get(customer.id, set())
        try:
            next_offset = self._checked(customer, epoch, position.next_offset)
        except streams.errors.StreamMissing:
            log.error("stream_missing", customer=customer.slug, stream=raw(customer.slug))
            return
        log.info("customer_taken", customer=customer.slug, epoch=epoch, next_offset=next_offset)
        since = time.monotonic() - self.settings.stale_after_s + FIRST_RING_S
        feed = Feed(
            customer_id=customer.id,
            slug=customer.slug,
            epoch=epoch,
            next_offset=next_offset,
            subscription=self.broker.follow(raw(customer.slug), next_offset, credit=CREDIT),
            most_pending=self.settings.pending_batches,
            in_flight=dict.fromkeys(open_windows, Rung(since)),
        )
        self._feeds[customer.id] = self._feed_of[feed.subscription] = feed

    def _checked(self, customer: Customer, epoch: int, cursor: int) -> int:
        """The cursor, moved back when the stream is shorter: it was replaced, or lost its end with the power.

        Its offsets are used again then, so all that it holds is read once more; batch ids tell the repeats.
        """
        deadline_s = self.settings.read_deadline_s
        end = self.broker.last_offset(raw(customer.slug), deadline_s=deadline_s) if cursor else None
        if cursor == 0 or (end is not None and end + 1 >= cursor):
            return cursor
        first = self.broker.first_offset(raw(customer.slug), deadline_s=deadline_s) or 0
        log.error("stream_shorter_than_cursor", customer=customer.slug, cursor=cursor, end=end, restart=first)
        with db.engine.begin(self.engine) as connection:
            db.dispatch.restart(connection, customer_id=customer.id, epoch=epoch, before=cursor, after=first)
        return first

    def _patience(self) -> float:
        """Seconds to wait for chunks: until the first linger ends, a poll is due, or the next tick."""
        now = time.monotonic()
        waits = [IDLE_S, self._next_tick_s - now]
        waits += [max(POLL_S, end - now) for end in self._turns.lingers_end_s(self._feeds.values())]
        return max(0.0, min(waits))

    def _dispatch(self, due: list[tuple[Feed, list[Pending]]]) -> None:
        """Record the windows of all customers that are due in one transaction, then ring them."""
        if not due:
            return
        now_us = time.time_ns() // 1000
        with db.engine.look(self.engine) as connection:
            cuts = [sort(feed, batches, _known(connection, feed, batches)) for feed, batches in due]
        deadline_s = self.settings.read_deadline_s
        unfit = [quarantine_rows(self.broker, each, now_us=now_us, deadline_s=deadline_s) for each in cuts]
        with db.engine.begin(self.engine) as connection:
            windows = [
                self._record(connection, each, rows, now_us) for each, rows in zip(cuts, unfit, strict=True)
            ]
        # Dying here leaves recorded windows without a doorbell: the next holder finds them in flight and
        # rings.
        for each, window_id in zip(cuts, windows, strict=True):
            self._recorded(each, window_id)

    def _record(self, connection: Connection, each: Cut, rows: list[NewQuarantine], now_us: int) -> int:
        version = self._customers[each.feed.customer_id].pipeline_version
        try:
            return record(connection, each, rows, pipeline_version=version, now_us=now_us)
        except db.errors.LostLease:
            log.warning("lease_lost", customer=each.feed.slug, epoch=each.feed.epoch)
            self.leases.held.pop(each.feed.customer_id, None)
            self._drop(each.feed)
            raise

    def _recorded(self, each: Cut, window_id: int) -> None:
        feed, customer = each.feed, self._customers[each.feed.customer_id]
        if each.expired:
            log.error("batches_expired", customer=feed.slug, count=each.expired)
        feed.recorded(len(each.batches), each.batches[-1].offset + 1)
        if not each.fresh:
            return
        feed.in_flight[window_id] = Rung(time.monotonic())
        self._turns.pace.went(feed.customer_id, sum(b.size for b in each.fresh), customer.events_per_second)
        self._ring(customer, window_id)

    def _ring(self, customer: Customer, window_id: int) -> None:
        try:
            ring(self.app, window_id, customer.id, customer.slug, customer.routes)
        except (AccessRefused, PreconditionFailed) as error:
            # This customer's queue can't be used as it is: the others go on, this window is rung again later.
            log.error("queue_refused", customer=customer.slug, detail=str(error)[:200])

    def _poll(self) -> None:
        """Learn which windows were deposited since, and which were cut in two."""
        now = time.monotonic()
        busy = [feed for feed in self._feeds.values() if feed.in_flight]
        if now < self._next_poll_s or not busy:
            return
        waiting = any(feed.pending for feed in busy)
        self._next_poll_s = now + (POLL_S if waiting else IDLE_S)
        with db.engine.look(self.engine) as connection:
            open_ids = db.windows.open_ids(connection, [feed.customer_id for feed in busy])
        for feed in busy:
            feed.in_flight = {i: feed.in_flight.get(i, Rung(now)) for i in open_ids.get(feed.customer_id, ())}

    def _ring_stale(self, feed: Feed) -> None:
        """Ring windows again whose deposit is overdue, unless their doorbells still wait in the own queue."""
        now = time.monotonic()
        stale = [i for i, rung in feed.in_flight.items() if now - rung.at_s >= self._stale_after_s(rung)]
        if not stale or self.queues.waiting(PREFIX + feed.slug) >= len(stale):
            return
        for window_id in stale:
            self._ring(self._customers[feed.customer_id], window_id)
            feed.in_flight[window_id] = Rung(now, feed.in_flight[window_id].again + 1)
        with db.engine.begin(self.engine) as connection:
            db.windows.rung(connection, stale, time.time_ns() // 1000)
        log.warning("windows_rung_again", customer=feed.slug, windows=len(stale), first=stale[0])

    def _stale_after_s(self, rung: Rung) -> float:
        longest = max(self.settings.stale_after_s, float(self.settings.task_time_limit_s))
        return min(self.settings.stale_after_s * 2.0 ** min(rung.again, 10), longest)

    def _drop(self, feed: Feed) -> None:
        self._feeds.pop(feed.customer_id, None)
        self._feed_of.pop(feed.subscription, None)
        feed.close()

    def _forget(self) -> None:
        """Drop all feeds: the outcome of the last transaction may be unknown, the database knows the
        cursors.
        """
        for feed in list(self._feeds.values()):
            self._drop(feed)
        self._next_tick_s = 0.0

    def _close(self) -> None:
        for feed in list(self._feeds.values()):
            self._drop(feed)
        with suppress(*AWAY), db.engine.begin(self.engine) as connection:
            self.leases.leave(connection)
        self.queues.close()
        log.info("dispatcher_stopped")


def _known(connection: Connection, feed: Feed, batches: list[Pending]) -> dict[str, bytes]:
    return db.dispatch.known(connection, feed.customer_id, [batch.batch_id for batch in batches])

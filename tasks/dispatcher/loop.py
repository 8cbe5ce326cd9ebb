"""The dispatcher's loop: leases, feeds, windows, doorbells."""

import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial

import structlog
from amqp.exceptions import AMQPError
from celery import Celery
from kombu.exceptions import OperationalError
from sqlalchemy import Connection, Engine

import db.customers.rows
import db.engine
import db.errors
import db.ledger.windows
import streams.errors
from db.clock import now_us
from db.customers.rows import Customer
from db.ledger.workers import Attendance
from streams import Broker
from tasks.dispatcher.doorbells import Doorbells, RungWindow
from tasks.dispatcher.leases import Leases
from tasks.dispatcher.raw_streams.errands import Errands
from tasks.dispatcher.raw_streams.feed import Feed, LastRing
from tasks.dispatcher.raw_streams.following import Following
from tasks.dispatcher.raw_streams.reconciling import Reconciler
from tasks.dispatcher.recorder import Recordable, SortedBatches, known, quarantine_rows, record, sort
from tasks.dispatcher.scheduling.due_windows import DueWindow, DueWindows
from tasks.dispatcher.scheduling.queue_depth import Queues
from tasks.dispatcher.turns import Turns
from tasks.measures.dispatching import DispatchMeasures
from tasks.settings import TaskSettings
from tracing import Tracer

log = structlog.get_logger("dispatcher")

# Of all customers at once; what is wrong with one customer's stream or queue is told apart where it is met.
AWAY = (db.errors.DatabaseUnavailable, streams.errors.BrokerUnavailable, OperationalError, AMQPError, OSError)
ROUND_S = 0.02  # the shortest round: what comes within it is taken together
LONG_ROUND_S = 0.1  # a round that had much to do waits as long as it worked, for no longer than this in all
LOOK_S = 0.05  # how often the windows in flight of a customer with more to send are looked at
POLL_S = 0.02  # how often it is seen whether a linger has ended, or what is waited for has come
IDLE_S = 0.25  # the longest wait of a round
RETRY_S = 1.0  # the pause after the broker or the database was found away


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
    measures: DispatchMeasures = field(default_factory=DispatchMeasures)
    turns: Turns | None = None  # whom the end of each round is told
    tracer: Tracer = field(default_factory=partial(Tracer, "dispatcher"))
    stopping: bool = False
    _customers: dict[int, Customer] = field(default_factory=dict)
    _fetches: Errands[Recordable] = field(default_factory=Errands)
    # By customer, until the bytes that go to quarantine are fetched.
    _held_back: dict[int, SortedBatches] = field(default_factory=dict)
    _attendance: Attendance = field(default_factory=Attendance)
    _doorbells: Doorbells = field(init=False)
    _following: Following = field(init=False)
    _due_windows: DueWindows = field(init=False)
    _next_tick_s: float = 0.0
    _next_poll_s: float = 0.0

    def __post_init__(self) -> None:
        settings = self.settings
        self._due_windows = DueWindows(settings=settings, traced=self.tracer.traces)
        self._doorbells = Doorbells(
            app=self.app,
            engine=self.engine,
            queues=self.queues,
            settings=settings,
            measures=self.measures,
            tracer=self.tracer,
        )
        reconciler = Reconciler(
            engine=self.engine, broker=self.broker, app=self.app, deadline_s=settings.read_deadline_s
        )
        self._following = Following(
            engine=self.engine,
            broker=self.broker,
            reconciler=reconciler,
            most_pending=settings.pending_batches,
        )

    def run(self) -> None:
        """Do rounds until `stopping` is set; then give the leases back."""
        while not self.stopping:
            try:
                self.round_once()
            except db.errors.LostLease:
                pass  # nothing of the round was kept; the customers that are still ours go on
            except AWAY as error:
                log.warning("dispatch_waited", reason=type(error).__name__, detail=str(error)[:200])
                self.measures.waits(type(error).__name__)
                self._forget()
                self._told(type(error).__name__)
                time.sleep(RETRY_S)
                continue
            self._told()
        self._close()

    def round_once(self) -> None:
        """One round: take what has come, record the windows that are due, ring them."""
        started = time.monotonic()
        if started >= self._next_tick_s:
            self._tick()
            self._next_tick_s = time.monotonic() + self.settings.tick_s
        ticked_s = time.monotonic() - started
        arrived = self.broker.wait(self._wait_s())
        resumed = time.monotonic()
        for subscription in arrived:
            if not self._following.collect(subscription):
                self._next_tick_s = 0.0
        for feed in self._following.opened(self._customers, self.leases.held):
            feed.in_flight = self._doorbells.found(feed.found)
        self._poll()
        # In this order: what is fetched now is not recorded yet, and its batches would be due once more.
        due = self._sorted(list(self._due_windows.due(self._ready())))
        self._dispatch(self._fetched() + due)
        self.measures.turned(ticked_s + time.monotonic() - resumed, len(self.leases.held))
        ended = time.monotonic()
        time.sleep(max(0.0, min(max(ROUND_S, 2 * (ended - resumed)), LONG_ROUND_S) - (ended - started)))

    def _told(self, waits_for: str = "") -> None:
        if self.turns is not None:
            self.turns.turned(len(self.leases.held), waits_for)

    def _tick(self) -> None:
        before = self._customers
        with db.engine.begin(self.engine) as connection:
            self._customers = {customer.id: customer for customer in db.customers.rows.served(connection)}
            self.leases.tick(connection, set(self._customers))
            self._due_windows.pace.learn(db.ledger.windows.yields(connection))
            processes = self._attendance.processes(connection, time.monotonic())
        self._due_windows.learn(self._customers, processes)
        feeds, held = self._following.feeds, self.leases.held
        for feed in list(feeds.values()):
            if held.get(feed.customer_id) != feed.epoch:
                self._following.drop(feed)
        self._following.open(self._customers, held)
        for of, feed in feeds.items():
            customer = self._customers[of]
            if of in before and _moved(before[of], customer):
                # Nobody may consume the queues of before any more, where the doorbells are.
                self._doorbells.ring_all(customer, feed)
            self._doorbells.ring_stale(customer, feed)

    def _wait_s(self) -> float:
        """Seconds to wait for chunks: until the first linger ends, a poll is due, or the next tick."""
        now = time.monotonic()
        waits = [IDLE_S, self._next_tick_s - now]
        waits += [max(POLL_S, end - now) for end in self._due_windows.lingers_end_s(self._ready().values())]
        if self._following.opening or self._fetches.busy:
            waits.append(POLL_S)
        return max(0.0, min(waits))

    def _ready(self) -> dict[int, Feed]:
        """The feeds of which nothing is held back."""
        feeds = self._following.feeds
        if not self._held_back:
            return feeds
        return {of: feed for of, feed in feeds.items() if of not in self._held_back}

    def _sorted(self, due: list[DueWindow]) -> list[Recordable]:
        """What can be recorded now; the rest is held back until the bytes that go to quarantine are there."""
        if not due:
            return []
        with db.engine.look(self.engine) as connection:
            seen = known(connection, {one.feed.customer_id: one.batches for one in due})
        recordable = [
            Recordable(sort(one.feed, one.batches, seen[one.feed.customer_id]), [], one.group) for one in due
        ]
        for each, _, _ in recordable:
            if each.quarantined:
                self._held_back[each.feed.customer_id] = each
                self._fetches.go(each.feed.customer_id, partial(self._fetch, each))
        return [one for one in recordable if not one.batches.quarantined]

    def _fetch(self, each: SortedBatches) -> Recordable:
        """The errand: the bytes of what goes to quarantine."""
        at_us, deadline_s = now_us(self.engine), self.settings.read_deadline_s
        return Recordable(each, quarantine_rows(self.broker, each, now_us=at_us, deadline_s=deadline_s))

    def _fetched(self) -> list[Recordable]:
        """What was held back and can be recorded now. The group that it was in was rung long ago."""
        ready = []
        for of, fetched, error in self._fetches.done():
            each = self._held_back.get(of)
            if each is None or (fetched is not None and fetched.batches is not each):
                continue  # it was given up meanwhile
            del self._held_back[of]
            if self._following.feeds.get(of) is not each.feed:
                continue
            if fetched is not None:
                ready.append(fetched)
                continue
            log.warning("unfit_bytes_not_fetched", customer=each.feed.slug, reason=type(error).__name__)
            self._following.give_up(each.feed)
        return ready

    def _dispatch(self, due: list[Recordable]) -> None:
        """Record the windows of all customers that are due in one transaction, then ring them."""
        if not due:
            return
        begun_ns = time.time_ns()
        with db.engine.begin(self.engine) as connection:
            at_us = now_us(connection)
            windows = [self._record(connection, each, at_us) for each in due]
        # Dying here leaves recorded windows without a doorbell: the next holder finds them in flight and
        # rings.
        new = [self._recorded(each, of) for each, of in zip(due, windows, strict=True)]
        self._doorbells.ring_new([one for one in new if one is not None], begun_ns)

    def _record(self, connection: Connection, recordable: Recordable, at_us: int) -> int:
        each = recordable.batches
        try:
            return record(
                connection,
                each,
                recordable.quarantined,
                pipeline_version=self._customers[each.feed.customer_id].pipeline_version,
                quarantine_daily_bytes=self.settings.quarantine_daily_bytes,
                now_us=at_us,
            )
        except db.errors.LostLease:
            log.warning("lease_lost", customer=each.feed.slug, epoch=each.feed.epoch)
            self.leases.held.pop(each.feed.customer_id, None)
            self._following.drop(each.feed)
            raise

    def _recorded(self, recorded: Recordable, window_id: int) -> RungWindow | None:
        each = recorded.batches
        feed, customer = each.feed, self._customers[each.feed.customer_id]
        if each.expired:
            log.error("batches_expired", customer=feed.slug, count=each.expired)
        size = sum(batch.size for batch in each.fresh)
        self.measures.recorded(
            feed.slug,
            batches=len(each.fresh),
            size=size,
            duplicates=each.duplicates,
            expired=each.expired,
        )
        feed.recorded(len(each.batches), each.batches[-1].offset + 1)
        self._following.recorded(feed)
        if not each.fresh:
            return None
        feed.in_flight[window_id] = LastRing(time.monotonic())
        self._due_windows.pace.went(feed.customer_id, size, customer.events_per_second)
        return RungWindow(window_id, customer, feed, recorded.group, each.messages)

    def _poll(self) -> None:
        """Learn which windows were deposited since, and which were split."""
        now = time.monotonic()
        busy = [feed for feed in self._following.feeds.values() if feed.in_flight]
        if now < self._next_poll_s or not busy:
            return
        waiting = any(feed.pending for feed in busy)
        self._next_poll_s = now + (LOOK_S if waiting else IDLE_S)
        with db.engine.look(self.engine) as connection:
            open_ids = db.ledger.windows.open_ids(connection, [feed.customer_id for feed in busy])
        for feed in busy:
            feed.in_flight = {
                i: feed.in_flight.get(i, LastRing(now)) for i in open_ids.get(feed.customer_id, ())
            }

    def _forget(self) -> None:
        """Drop all feeds: the outcome of the last transaction may be unknown, the database knows the
        cursors.
        """
        self._following.drop_all()
        self._held_back.clear()
        self._next_tick_s = 0.0

    def _close(self) -> None:
        self._following.close()
        self._fetches.close()
        with suppress(*AWAY), db.engine.begin(self.engine) as connection:
            self.leases.leave(connection)
        self.queues.close()
        log.info("dispatcher_stopped")


def _moved(before: Customer, customer: Customer) -> bool:
    """Whether its doorbells lie elsewhere than they should, or somebody asked for them."""
    return (before.routes, before.rings_asked) != (customer.routes, customer.rings_asked)

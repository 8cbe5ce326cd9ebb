"""Whose next window is due, and which batches it holds."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from db.customers.rows import Customer
from db.ledger.workers import SHARED
from tasks.dispatcher.cutter import Bounds, Pending, cut
from tasks.dispatcher.raw_streams.feed import Feed
from tasks.dispatcher.scheduling.pace import Pace
from tasks.dispatcher.scheduling.shares import Busy, Shares
from tasks.queues import queue_name
from tasks.settings import TaskSettings


@dataclass(kw_only=True)
class DueWindows:
    """What the dispatcher knows of customers, workers and pace, and what follows from it for its feeds."""

    settings: TaskSettings
    pace: Pace = field(default_factory=Pace)
    customers: Mapping[int, Customer] = field(default_factory=dict)
    _processes: Mapping[str, int] = field(default_factory=lambda: {SHARED: 0})
    _contenders: dict[int, int] = field(default_factory=dict)

    def learn(self, customers: Mapping[int, Customer], processes: Mapping[str, int]) -> None:
        """Customers by id, and the workers' processes by pool (`db.ledger.workers.Attendance`)."""
        self.customers = customers
        self._processes = processes

    def due(self, feeds: Mapping[int, Feed]) -> Iterator[tuple[Feed, list[Pending]]]:
        """The feeds, by customer id given, whose next window is to be recorded now, with its batches."""
        busy = [self._busy(feed) for feed in feeds.values() if feed.in_flight or self._waits(feed)]
        settings = self.settings
        shares = Shares.of(
            busy,
            self._processes,
            per_process=settings.windows_per_process,
            most=settings.windows_in_flight,
        )
        self._contenders = {one.customer_id: shares.contenders(one.customer_id) for one in busy}
        for customer_id in shares.longest_waiting_first():
            if shares.may_go(customer_id) and (batches := self._cut(feeds[customer_id])):
                shares.goes(customer_id)
                yield feeds[customer_id], batches

    def lingers_end_s(self, feeds: Iterable[Feed]) -> Iterator[float]:
        """When each of the feeds that wait will have waited long enough, in monotonic seconds."""
        return (feed.pending[0].seen_at_s + self._linger_s(feed) for feed in feeds if self._waits(feed))

    def _waits(self, feed: Feed) -> bool:
        """Whether it has batches and is neither paused nor held back by its throttle."""
        if not feed.pending:
            return False  # asked of thousands of idle customers many times a second
        customer = self.customers[feed.customer_id]
        return customer.state != "paused" and self.pace.may_go(customer.id, customer.events_per_second)

    def _busy(self, feed: Feed) -> Busy:
        customer = self.customers[feed.customer_id]
        queue = queue_name(customer.slug, "decode", customer.routes)
        return Busy(
            customer_id=feed.customer_id,
            pool=queue if queue in self._processes else SHARED,
            in_flight=len(feed.in_flight),
            waits_since_s=feed.pending[0].seen_at_s if self._waits(feed) else None,
            backlogged=self._backlogged(feed),
        )

    def _backlogged(self, feed: Feed) -> bool:
        """Whether more waits than a window holds."""
        settings = self.settings
        if len(feed.pending) > settings.window_batches:
            return True
        events = feed.pending_bytes * self.pace.events_per_byte(feed.customer_id)
        return feed.pending_bytes > settings.window_bytes or events > settings.window_events

    def _cut(self, feed: Feed) -> list[Pending]:
        throttle = self.customers[feed.customer_id].events_per_second
        bounds = Bounds(
            batches=self.settings.window_batches,
            bytes=self.settings.window_bytes,
            events=self.pace.most_events(self.settings.window_events, throttle),
            events_per_byte=self.pace.events_per_byte(feed.customer_id),
        )
        count = cut(feed.pending, bounds, linger_s=self._linger_s(feed), now_s=time.monotonic())
        return list(islice(feed.pending, count))

    def _linger_s(self, feed: Feed) -> float:
        """A quiet customer's batch hardly waits. With windows in flight, or others to share the workers with,
        waiting makes the next window larger.
        """
        contenders = self._contenders.get(feed.customer_id, 1)
        grown = self.settings.linger_ms * (contenders + len(feed.in_flight))
        return min(grown, max(self.settings.linger_ms, self.settings.linger_max_ms)) / 1000

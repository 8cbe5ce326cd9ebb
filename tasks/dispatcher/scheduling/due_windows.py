"""Whose next window is due, and which batches it holds."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple

from db.customers.rows import Customer
from db.ledger.workers import SHARED
from tasks.dispatcher.cutter import Bounds, Pending, cut
from tasks.dispatcher.raw_streams.feed import Feed
from tasks.dispatcher.scheduling.groups import GroupsOfRound, Size, is_small
from tasks.dispatcher.scheduling.pace import Pace
from tasks.dispatcher.scheduling.shares import Busy, Shares
from tasks.queues import queue_name
from tasks.settings import TaskSettings

# For each so many batches a second of one customer its windows wait another linger, up to so many of them.
_BUSY_PER_S = 100.0
_BUSY_LINGERS = 3.0
# Batches that come within less than this are no rate yet.
_RATE_S = 0.1
# Lingers of so many busy customers end together, at multiples of this, so that their windows share groups.
_TOGETHER = 8
_TOGETHER_S = 0.1


class DueWindow(NamedTuple):
    """A window that is to be recorded now, and the number of the round's group that it is in, if any."""

    feed: Feed
    batches: list[Pending]
    group: int | None


@dataclass(kw_only=True)
class DueWindows:
    """What the dispatcher knows of customers, workers and pace, and what follows from it for its feeds."""

    settings: TaskSettings
    traced: Callable[[str], bool] = lambda slug: False  # those have chains: there is a span for each stage
    pace: Pace = field(default_factory=Pace)
    customers: Mapping[int, Customer] = field(default_factory=dict)
    _processes: Mapping[str, int] = field(default_factory=lambda: {SHARED: 0})
    _contenders: dict[int, int] = field(default_factory=dict)

    def learn(self, customers: Mapping[int, Customer], processes: Mapping[str, int]) -> None:
        """Customers by id, and the workers' processes by pool (`db.ledger.workers.Attendance`)."""
        self.customers = customers
        self._processes = processes

    def due(self, feeds: Mapping[int, Feed]) -> Iterator[DueWindow]:
        """Of the feeds, by customer id given, the windows that are to be recorded now.

        A small window joins the group that was begun last if it has room there, and takes no share then.
        """
        busy = [self._busy(feed) for feed in feeds.values() if feed.in_flight or self._waits(feed)]
        settings = self.settings
        shares = Shares.of(
            busy,
            self._processes,
            per_process=settings.windows_per_process,
            most=settings.windows_in_flight,
        )
        self._contenders = {one.customer_id: shares.contenders(one.customer_id) for one in busy}
        groups = GroupsOfRound(settings=settings)
        for customer_id in shares.longest_waiting_first():
            feed, goes = feeds[customer_id], shares.may_go(customer_id)
            if not (goes or (groups.count and self._may_share(feed))) or not (batches := self._cut(feed)):
                continue
            size = self._shared_size(feed, batches)
            group = groups.join(size) if size is not None else None
            if group is None:
                if not goes:
                    continue
                shares.goes(customer_id)
                group = groups.begin(size) if size is not None else None
            yield DueWindow(feed, batches, group)

    def _shared_size(self, feed: Feed, batches: Sequence[Pending]) -> Size | None:
        """The size of the feed's next window if it may share a doorbell with those of other customers, None
        if not: it is large, or the feed has windows in flight already, or workers or routes of its own, or
        its customer is traced.
        """
        if not self._may_share(feed):
            return None
        size_bytes = sum(batch.size for batch in batches)
        size = Size(size_bytes, size_bytes * self.pace.events_per_byte(feed.customer_id))
        return size if is_small(size, self.settings) else None

    def _may_share(self, feed: Feed) -> bool:
        customer = self.customers[feed.customer_id]
        own = queue_name(customer.slug, "decode", customer.routes) in self._processes
        apart = feed.in_flight or customer.routes or own or self.traced(customer.slug)
        return not apart and self._processes.get(SHARED, 0) > 0

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
            groups=frozenset(ring.group for ring in feed.in_flight.values() if ring.group is not None),
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
        or when many batches come, waiting makes the next window larger: most of what a small one costs is the
        same for a large one.
        """
        contenders = self._contenders.get(feed.customer_id, 1)
        grown = self.settings.linger_ms * (contenders + len(feed.in_flight) + _busy_lingers(feed))
        linger_s = min(grown, max(self.settings.linger_ms, self.settings.linger_max_ms)) / 1000
        if contenders < _TOGETHER or linger_s < 2 * _TOGETHER_S or not feed.pending:
            return linger_s
        began_s = feed.pending[0].seen_at_s
        return round((began_s + linger_s) / _TOGETHER_S) * _TOGETHER_S - began_s


def _busy_lingers(feed: Feed) -> float:
    """How many lingers more a busy customer's batches wait."""
    if not feed.pending:
        return 0.0
    age_s = time.monotonic() - feed.pending[0].seen_at_s
    per_s = len(feed.pending) / max(age_s, _RATE_S)
    return min(_BUSY_LINGERS, per_s / _BUSY_PER_S)

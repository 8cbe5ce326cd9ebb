"""The raw streams that are followed: each customer is opened, followed and given up for itself."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import structlog
from sqlalchemy import Engine

import db.engine
import db.errors
import db.ledger.dispatch
import db.ledger.windows
import streams.errors
from db.customers.rows import Customer
from db.ledger.dispatch import Position
from streams import Broker, Subscription, raw
from tasks.dispatcher.raw_streams.errands import Errands
from tasks.dispatcher.raw_streams.feed import CREDIT, Feed, KeptMessages
from tasks.dispatcher.raw_streams.reconciling import Reconciler

log = structlog.get_logger("dispatcher")

AHEAD_BYTES = 16 * 1024 * 1024  # that the broker may send ahead in small chunks, for all customers together
READY_S = 2.0  # how long the broker may take to answer when it is asked whether it is there at all


class BrokerAway(Exception):
    """It is not this customer's stream alone that can't be read."""


class Opened(NamedTuple):
    """A customer that can be followed from `position` on, under the lease of `epoch`."""

    epoch: int
    position: Position
    open_windows: set[int]


@dataclass(kw_only=True)
class Following:
    """The feeds by customer id, and what leads to them and away from them.

    To look where a stream stands takes as long as its node takes to answer, so that is an errand beside the
    dispatcher's loop: a stream that is away costs its own customer only, which is tried again, later each
    time. Everything here can be rebuilt from the database.
    """

    engine: Engine
    broker: Broker
    reconciler: Reconciler
    most_pending: int
    feeds: dict[int, Feed] = field(default_factory=dict)
    _of: dict[Subscription, Feed] = field(default_factory=dict)
    _openings: Errands[Opened] = field(default_factory=Errands)
    _kept: KeptMessages = field(default_factory=KeptMessages)

    def open(self, customers: Mapping[int, Customer], epochs: Mapping[int, int]) -> None:
        """Begin to open those of the customers held under these epochs that are not followed yet."""
        due = [of for of in epochs if of not in self.feeds and self._openings.may_go(of)]
        if not due:
            return
        with db.engine.look(self.engine) as connection:
            positions = db.ledger.dispatch.positions(connection, due)
            open_ids = db.ledger.windows.open_ids(connection, due)
        for of, position in positions.items():
            windows = open_ids.get(of, set())
            self._openings.go(of, partial(self._opened, customers[of], epochs[of], position, windows))

    def opened(self, customers: Mapping[int, Customer], epochs: Mapping[int, int]) -> Iterator[Feed]:
        """The feeds of those that were opened since the last call; their windows in flight are not rung."""
        for of, found, error in self._openings.done():
            customer = customers.get(of)
            if customer is None or of in self.feeds:
                continue
            if found is None:
                self._not_opened(customer, error)
            elif epochs.get(of) == found.epoch:
                yield self._follow(customer, found)

    def collect(self, subscription: Subscription) -> bool:
        """Take what has come. False when the customer has to be opened again: its stream was lost for a
        moment, and what came since may be of another stream of its name.
        """
        feed = self._of.get(subscription)
        if feed is None:
            return True
        try:
            feed.collect(AHEAD_BYTES // len(self.feeds))
        except streams.errors.UnfitMessage as error:
            log.error("chunk_not_understood", customer=feed.slug, detail=str(error)[:200])
            self.give_up(feed)
            return True
        if subscription.missing:
            log.error("stream_missing", customer=feed.slug, stream=subscription.stream)
            self.give_up(feed)
            return True
        if subscription.losses:
            log.warning("stream_lost", customer=feed.slug, stream=subscription.stream)
            self.drop(feed)
            return False
        return True

    @property
    def opening(self) -> bool:
        """Whether any customer is being opened."""
        return self._openings.busy

    def recorded(self, feed: Feed) -> None:
        """All is well with the customer: a window of it was recorded."""
        self._openings.succeeded(feed.customer_id)

    def give_up(self, feed: Feed) -> None:
        """Drop the feed, and leave its customer alone for a while, longer each time."""
        self.drop(feed)
        self._openings.failed(feed.customer_id)

    def drop(self, feed: Feed) -> None:
        self.feeds.pop(feed.customer_id, None)
        self._of.pop(feed.subscription, None)
        feed.close()

    def drop_all(self) -> None:
        for feed in list(self.feeds.values()):
            self.drop(feed)

    def close(self) -> None:
        self.drop_all()
        self._openings.close()

    def _opened(self, customer: Customer, epoch: int, position: Position, open_windows: set[int]) -> Opened:
        """The errand. Where a new generation began, some of the windows are closed: a poll tells."""
        try:
            return Opened(epoch, self.reconciler.position(customer, epoch, position), open_windows)
        except streams.errors.BrokerUnavailable as error:
            if self.broker.ready(READY_S):
                raise
            raise BrokerAway(str(error)) from error

    def _not_opened(self, customer: Customer, error: Exception | None) -> None:
        if isinstance(error, BrokerAway):
            log.warning("broker_away", customer=customer.slug, detail=str(error)[:200])
            self._openings.postpone(customer.id)
            return
        if isinstance(error, db.errors.DatabaseUnavailable):
            log.warning("database_away", customer=customer.slug, detail=str(error)[:200])
            self._openings.postpone(customer.id)
            return
        if isinstance(error, streams.errors.StreamMissing):
            log.error("stream_missing", customer=customer.slug, stream=error.stream)
        else:
            reason, detail = type(error).__name__, str(error)[:200]
            log.error("customer_not_opened", customer=customer.slug, reason=reason, detail=detail)
        self._openings.failed(customer.id)

    def _follow(self, customer: Customer, found: Opened) -> Feed:
        position = found.position
        log.info(
            "customer_taken", customer=customer.slug, epoch=found.epoch, next_offset=position.next_offset
        )
        feed = Feed(
            customer_id=customer.id,
            slug=customer.slug,
            epoch=found.epoch,
            generation=position.generation,
            next_offset=position.next_offset,
            subscription=self.broker.follow(raw(customer.slug), position.next_offset, credit=CREDIT),
            most_pending=self.most_pending,
            found=found.open_windows,
            kept=self._kept,
        )
        self.feeds[customer.id] = self._of[feed.subscription] = feed
        return feed

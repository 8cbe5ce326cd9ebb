"""Before a raw stream is followed: the cursor, in a new generation when the stream is not the one it was."""

import threading
from dataclasses import dataclass

import msgspec
import structlog
from celery import Celery
from sqlalchemy import Engine

import db.engine
import db.ledger.deposits
import db.ledger.dispatch
import db.ledger.generations
import db.ledger.windows
from db.clock import now_us
from db.customers.rows import Customer
from db.ledger.dispatch import Position
from streams import Broker, decode_result, processed, raw
from streams.errors import StreamMissing, UnfitMessage
from tasks.chains import ring_deposit
from tasks.dispatcher.raw_streams.comparing import CurrentStream, Divergence, diverges, edge, unchanged
from tasks.handover import peek

log = structlog.get_logger("dispatcher")

AT_ONCE = threading.Semaphore(2)
"""Streams compared window by window at the same time. Each holds a connection to the database while it reads
the stream; of the five in the pool (`SLUICE_DB_POOL_SIZE`) most are left to the loop and to other errands."""
LOOK_S = 5.0
"""The longest look at one stream, so that many which are away do not keep the others waiting."""
RESULTS_AT_ONCE = 16
"""Results read at once when it is looked which windows have theirs in the processed stream."""


class Unsettled(Exception):
    """Windows of the stream of before can still be deposited: look again when they are."""


@dataclass(frozen=True, kw_only=True)
class Reconciler:
    """Holds what the ledger booked against what a raw stream holds now."""

    engine: Engine
    broker: Broker
    app: Celery
    deadline_s: float

    def position(self, customer: Customer, epoch: int, position: Position) -> Position:
        """The customer's position, where its stream can be followed from.

        When what lies before the cursor is not what was booked there, a new generation is begun: of a stream
        that lost its end what survives is not read again, of a replaced one everything is; what open windows
        lost is booked as expired. Raises BrokerUnavailable, StreamMissing, `LostLease`, and `Unsettled` while
        results of such windows lie in the processed stream: they count, so they are deposited first.
        """
        stream = raw(customer.slug)
        known = self._edge(position)
        if unchanged(self.broker, stream, position, known, deadline_s=min(self.deadline_s, LOOK_S)):
            return position
        with AT_ONCE:
            seen = self._seen(stream)
            with db.engine.read(self.engine) as connection:
                past = db.ledger.generations.history(connection, customer.id)
                found = diverges(connection, seen, position, past)
            if found is None:
                return position
            self._settle(customer, found)
            return self._begin(customer, epoch, position, found)

    def _edge(self, position: Position) -> bytes | None:
        if position.edge is not None:
            return position.edge
        with db.engine.read(self.engine) as connection:
            return edge(connection, position)

    def _seen(self, stream: str) -> CurrentStream:
        first = self.broker.first_offset(stream, deadline_s=self.deadline_s)
        last = self.broker.last_offset(stream, deadline_s=self.deadline_s)
        return CurrentStream(
            broker=self.broker, stream=stream, deadline_s=self.deadline_s, first=first, last=last
        )

    def _begin(self, customer: Customer, epoch: int, position: Position, found: Divergence) -> Position:
        with db.engine.begin(self.engine) as connection:
            begun = db.ledger.generations.begin(
                connection,
                customer_id=customer.id,
                epoch=epoch,
                kind=found.kind,
                before=position.next_offset,
                after=found.offset,
                edge=found.edge,
                now_us=now_us(connection),
            )
            after = db.ledger.dispatch.position(connection, customer.id)
        log.error(
            f"stream_{begun.kind}",
            customer=customer.slug,
            generation=begun.generation,
            cursor=begun.cursor_before,
            from_offset=begun.from_offset,
            expired=begun.expired,
        )
        return after

    def _settle(self, customer: Customer, found: Divergence) -> None:
        """Let what was processed before the stream was lost be deposited. Raises `Unsettled`."""
        with db.engine.begin(self.engine) as connection:
            lost = db.ledger.generations.lost(connection, customer.id, found.kind, found.offset)
            if not lost:
                return
            state = db.ledger.deposits.state(connection, customer.id, lost[0].window_id)
            owed = db.ledger.deposits.undeposited(connection, [customer.id], [one.window_id for one in lost])
        if state.halted:
            return  # what was made before the breaker is closed counts no more
        tokens = {window_id: one.token for window_id, one in owed.items()}
        made = self._made(customer.slug, state.next_offset, tokens)
        if not made:
            return
        for window_id in sorted(made):
            ring_deposit(self.app, window_id, customer.id, customer.slug, customer.routes)
        raise Unsettled(f"{len(made)} windows of {customer.slug} wait for their deposit")

    def _made(self, slug: str, first: int, tokens: dict[int, int]) -> set[int]:
        """The windows, of those with these tokens, whose results lie in the processed stream."""
        stream = processed(slug)
        try:
            last = self.broker.last_offset(stream, deadline_s=self.deadline_s)
            kept_from = self.broker.first_offset(stream, deadline_s=self.deadline_s) or 0
        except StreamMissing:
            return set()
        made: set[int] = set()
        # Where this stream was cut or replaced, too, the deposit begins anew: look at all that there is.
        at = max(first if last is not None and first <= last else 0, kept_from)
        while last is not None and at <= last:
            upto = min(at + RESULTS_AT_ONCE - 1, last)
            for message in self.broker.read(stream, at, upto, deadline_s=self.deadline_s):
                try:
                    header, _ = peek(decode_result(message.data).data)
                except (UnfitMessage, msgspec.MsgspecError):
                    continue
                if tokens.get(header.window_id) == header.token:
                    made.add(header.window_id)
            at = upto + 1
        return made

"""One dispatcher of all measures all customers, beside its loop: the others show only themselves.

A thread with connections of its own looks at the ledger, at the raw streams and at the books in slices, so
that a ledger or a number of customers however large costs a bounded share of each second. Everything is only
read.
"""

import heapq
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog
from sqlalchemy import Engine

import db.accounting.books
import db.accounting.measured as measured
import db.customers.rows
import db.engine
import db.quarantine.budget
from db.accounting.measured import NO_WINDOWS, NOTHING_DONE, bounded
from db.clock import now_us, today
from db.customers.deletion import is_gone
from db.errors import DatabaseUnavailable
from db.quarantine.budget import Spent
from db.settings import DatabaseSettings
from operators.board import Board
from streams import Broker, StreamSettings, decode_envelope, raw
from streams.errors import BrokerUnavailable, StreamEnds, StreamMissing, UnfitMessage
from streams.settings import RetentionSettings
from tasks.measures import board_text
from tasks.measures.board_text import WholeFigures
from tasks.measures.figures import CustomerFigures
from tasks.measures.loads import Loads
from tasks.measures.peers import Peers
from tasks.settings import TaskSettings

log = structlog.get_logger("dispatcher")

SLICE_S = 1.0
SHARE = 0.1
"""Of each slice that looks at streams, and as much again that looks at books, may take."""
LOOK_S = 5.0
"""How long a look at the ledger may take, and the check of one customer's books."""
STREAM_S = 1.0
STORAGE_EVERY_S = 60.0
COMMITTED_S = 2.0
"""Deposits are added up when they are so old: their time is that of a moment before their commit."""
FIRST_OFFSET_EVERY = 8
BOOKS_EVERY = 12
"""A round of the books begins so many looks after the one before, or when that ends: once in a minute."""
AGAIN_S = 30.0
STOP_WITHIN_S = 5.0
SHORT = {"pool_size": 1, "statement_timeout_s": LOOK_S, "lock_timeout_s": 1.0, "sqlite_busy_timeout_s": 1.0}


@dataclass(kw_only=True)
class Measurer:
    """Shows figures on the board while `elected` says that it is this dispatcher's turn."""

    engine: Engine
    broker: Broker
    board: Board
    settings: TaskSettings
    retention: RetentionSettings
    elected: Callable[[], bool]
    _figures: dict[int, CustomerFigures] = field(default_factory=dict)
    _whole: WholeFigures = field(default_factory=WholeFigures)
    _peers: Peers = field(default_factory=Peers)
    _loads: Loads = field(init=False)
    _deposits_upto_us: int = 0
    _next_look_s: float = 0.0
    _look_every_s: float = 0.0
    _next_show_s: float = 0.0
    _looked_at_us: int = 0
    _looked_s: float = 0.0
    _next_storage_s: float = 0.0
    _unchecked: list[int] = field(default_factory=list)  # of the round of the books, customers to come
    _next_round_s: float = 0.0  # of the monotonic clock
    _round_began_s: float = 0.0
    _failed: int = 0  # customers of this round whose books took too long
    _stopping: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __post_init__(self) -> None:
        self._forget()

    def start(self) -> None:
        self._thread = threading.Thread(target=self._run, name="measurer", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Returns when the slice under way is done, or after `STOP_WITHIN_S`."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(STOP_WITHIN_S)
        self.broker.close()
        self.engine.dispose()

    def _run(self) -> None:
        pause_s = slice_s = min(SLICE_S, self.settings.measure_every_s)
        while not self._stopping.wait(pause_s):
            pause_s = slice_s
            try:
                self.slice(slice_s)
            except Exception as error:
                # Nothing but what is shown depends on it: dispatch must go on whatever is wrong here.
                log.error("measuring_failed", error=type(error).__name__, detail=str(error)[:200])
                pause_s = AGAIN_S

    def slice(self, seconds: float) -> None:
        """What is due now; all of it takes a fifth of so many seconds, and the look when there is one."""
        if not self.elected():
            self._forget()
            self.board.show(board_text.idle())
            return
        try:
            if (began_s := time.monotonic()) >= self._next_look_s:
                self._next_look_s = began_s + self.settings.measure_every_s
                self._look()
                self._look_every_s = self._spaced(began_s)
                self._next_look_s = began_s + self._look_every_s
            self._check_books(time.monotonic() + seconds * SHARE)
        except DatabaseUnavailable as error:
            log.warning("measuring_waited", detail=str(error)[:200])
        self._look_at_streams(time.monotonic() + seconds * SHARE)
        if (began_s := time.monotonic()) >= self._next_show_s:
            self._show()
            self._next_show_s = began_s + self._spaced(began_s)

    def _spaced(self, began_s: float) -> float:
        """Seconds until what began then is done again: with very many customers it takes longer."""
        return max(self.settings.measure_every_s, (time.monotonic() - began_s) / SHARE)

    def _forget(self) -> None:
        self._figures, self._whole, self._peers = {}, WholeFigures(), Peers()
        self._loads = Loads(target_s=self.settings.owed_target_s, most=self.settings.metric_customers)
        self._deposits_upto_us, self._next_look_s, self._next_storage_s = 0, 0.0, 0.0
        self._unchecked, self._next_round_s, self._next_show_s = [], 0.0, 0.0

    def _look(self) -> None:
        """At everything that few statements tell of all customers."""
        with bounded(self.engine, LOOK_S) as connection:
            at_us = now_us(connection)
            upto_us = at_us - int(COMMITTED_S * 1e6)
            after_us = self._deposits_upto_us or upto_us - int(self.settings.measure_every_s * 1e6)
            customers = db.customers.rows.present(connection)
            cursors = measured.cursors(connection)
            open_windows = measured.open_windows(connection)
            done = measured.deposited(connection, after_us, upto_us)
            days = db.quarantine.budget.everyones(connection, day=today(connection))
            beats = measured.beats(connection)
            if time.monotonic() >= self._next_storage_s:
                self._whole.storage = measured.storage(connection, at_us)
                self._next_storage_s = time.monotonic() + STORAGE_EVERY_S
        before, seconds = self._figures, max(0.001, (upto_us - after_us) / 1e6)
        self._figures = {one.id: before.get(one.id) or CustomerFigures(customer=one) for one in customers}
        for customer in customers:
            one, was = self._figures[customer.id], done.get(customer.id, NOTHING_DONE)
            one.customer = customer
            one.looked(cursors.get(customer.id, 0), open_windows.get(customer.id, NO_WINDOWS))
            one.day = days.get(customer.id, Spent())
            one.worked(was.batches, was.bytes, seconds)
        self._deposits_upto_us = upto_us
        now_s = time.monotonic()
        self._peers.saw(beats, now_s)
        self._whole.beats = self._peers.ages_s(now_s)
        self._whole.processes, self._whole.wanted = self._loads.look(
            self._figures.values(), done, self._peers.processes(now_s), seconds=seconds, now_us=at_us
        )
        self._whole.measured_at_s = time.time()
        self._looked_at_us, self._looked_s = at_us, now_s

    def _check_books(self, until_s: float) -> None:
        """Of as many customers as there is time for, and at least one; then where the round stopped."""
        if not self._unchecked:
            if (now_s := time.monotonic()) < self._next_round_s:
                return
            self._next_round_s = now_s + BOOKS_EVERY * self.settings.measure_every_s
            self._unchecked = sorted(self._figures, reverse=True)
            self._round_began_s, self._failed = time.time(), 0
        while self._unchecked:
            of = self._unchecked.pop()
            if (one := self._figures.get(of)) is not None:
                self._check(one)
            if time.monotonic() >= until_s:
                break
        if self._figures and not self._unchecked:
            self._whole.books_checked_s = self._round_began_s
            self._whole.books_unchecked = self._failed

    def _check(self, one: CustomerFigures) -> None:
        try:
            with bounded(self.engine, LOOK_S) as connection:
                ledger = db.accounting.books.ledger(connection, one.customer.id)
                one.kept_rows = measured.quarantine_kept(connection, one.customer.id)
                if is_gone(connection, one.customer.id):  # asked last: then all of it was there
                    return
        except LookupError:
            return  # it was deleted meanwhile
        except DatabaseUnavailable:
            self._failed += 1
            raise
        one.differences = len(ledger.differences())

    def _look_at_streams(self, until_s: float) -> None:
        """Those that were looked at longest ago, and in turn those of which something is not dispatched."""
        behind = (one for one in self._figures.values() if one.undispatched)
        turns = [
            heapq.nsmallest(8, group, key=lambda one: one.stream.looked_s)
            for group in (self._figures.values(), behind)
        ]
        seen: set[int] = set()
        while any(turns) and time.monotonic() < until_s:
            for turn in turns:
                if turn and (one := turn.pop(0)).customer.id not in seen:
                    seen.add(one.customer.id)
                    if not self._look_at_stream(one):
                        return

    def _look_at_stream(self, one: CustomerFigures) -> bool:
        """False when the broker does not answer, or not for this stream: others are for the next slice."""
        stream, name = one.stream, raw(one.customer.slug)
        try:
            last = self.broker.last_offset(name, deadline_s=STREAM_S)
            if last is not None and (stream.first is None or stream.looks % FIRST_OFFSET_EVERY == 0):
                stream.first = self.broker.first_offset(name, deadline_s=STREAM_S)
            stream.seen(time.monotonic(), None if last is None else last + 1)
            offset = max(one.cursor, stream.first or 0)
            if one.undispatched and offset != stream.read_offset:
                messages = self.broker.read(name, offset, offset, deadline_s=STREAM_S)
                stream.read_offset = offset
                stream.read_accepted_at = (
                    decode_envelope(messages[0].data).accepted_at_us if messages else None
                )
        except StreamMissing:
            stream.seen(time.monotonic(), None)
        except (StreamEnds, UnfitMessage):
            stream.read_offset, stream.read_accepted_at = max(one.cursor, stream.first or 0), None
        except BrokerUnavailable:
            stream.looked_s = time.monotonic()
            return False
        return True

    def _show(self) -> None:
        # What was owed at the look may be deposited since: its age goes on only when the next look is late.
        late_s = time.monotonic() - self._looked_s - 2 * self._look_every_s - SLICE_S
        text = board_text.shown(
            self._figures.values(),
            self._whole,
            now_us=self._looked_at_us + int(max(0.0, late_s) * 1e6),
            most_names=self.settings.metric_customers,
            retention=self.retention,
            daily_bytes=self.settings.quarantine_daily_bytes,
        )
        if not self.board.show(text):
            log.error("measures_too_long", bytes=len(text))


def made(board: Board | None, settings: TaskSettings, *, elected: Callable[[], bool]) -> Measurer | None:
    """With connections of its own: what it waits for keeps no window waiting. None without a board."""
    if board is None:
        return None
    return Measurer(
        engine=db.engine.connect(DatabaseSettings().model_copy(update=SHORT)),
        broker=Broker(StreamSettings()),
        board=board,
        settings=settings,
        retention=RetentionSettings(),
        elected=elected,
    )

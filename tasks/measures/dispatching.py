"""What a dispatcher counts, of the customers that it serves."""

from dataclasses import dataclass, field

import structlog
from prometheus_client import Counter, Gauge

from operators import LabelNames, Listener, Memory, share
from operators.board import Board
from tasks.measures import names
from tasks.measures.processes import ConnectionMeasures, ProcessMeasures, lane_bytes
from tasks.settings import TaskSettings

log = structlog.get_logger("dispatcher")

BOARD_BYTES = 4_096
"""Of what is measured, for each customer with a name and once more for the rest."""


@dataclass(kw_only=True)
class DispatchMeasures:
    """Counts of one dispatcher; `own` and `connections` are about its process."""

    customers: LabelNames = field(default_factory=lambda: LabelNames(100))
    own: ProcessMeasures = field(default_factory=ProcessMeasures)
    connections: ConnectionMeasures = field(default_factory=ConnectionMeasures)
    _leases: Gauge = field(default_factory=names.LEASES.gauge)
    _windows: Counter = field(default_factory=names.DISPATCHED_WINDOWS.counter)
    _batches: Counter = field(default_factory=names.DISPATCHED_BATCHES.counter)
    _bytes: Counter = field(default_factory=names.DISPATCHED_BYTES.counter)
    _duplicates: Counter = field(default_factory=names.DUPLICATES.counter)
    _expired: Counter = field(default_factory=names.EXPIRED.counter)
    _rung_again: Counter = field(default_factory=names.RUNG_AGAIN.counter)
    _refused: Counter = field(default_factory=names.QUEUES_REFUSED.counter)
    _waits: Counter = field(default_factory=names.DISPATCH_WAITS.counter)

    def turned(self, busy_s: float, leases: int) -> None:
        """A round is done. It took that many seconds, which is how late the next one may find what is due."""
        self.own.turned(busy_s, ready=True)
        self._leases.set(leases)

    def waits(self, reason: str) -> None:
        """A round was given up, as the broker or the database is away."""
        self.own.turned(ready=False)
        self._waits.labels(reason).inc()

    def recorded(self, slug: str, *, batches: int, size: int, duplicates: int, expired: int) -> None:
        """A window was recorded, of so many batches with `size` bytes; none when all were skipped."""
        label = self.customers.label(slug)
        if batches:
            self._windows.labels(label).inc()
            self._batches.labels(label).inc(batches)
            self._bytes.labels(label).inc(size)
        if duplicates:
            self._duplicates.labels(label).inc(duplicates)
        if expired:
            self._expired.labels(label).inc(expired)

    def rung_again(self, slug: str, windows: int) -> None:
        self._rung_again.labels(self.customers.label(slug)).inc(windows)

    def queue_refused(self, slug: str) -> None:
        self._refused.labels(self.customers.label(slug)).inc()

    @property
    def board(self) -> Board | None:
        """For what is measured; None when nothing is shown."""
        return None if self.own.memory is None else self.own.memory.board

    def stop(self) -> None:
        """Nobody has questions any more."""
        if self.own.listener is not None:
            self.own.listener.stop()


def shown(settings: TaskSettings, name: str) -> DispatchMeasures:
    """The measures of this process, shown at the address of the settings by a listener of its own."""
    customers = LabelNames(settings.metric_customers)
    if not settings.dispatcher_metrics_bind:
        return DispatchMeasures(customers=customers)
    memory = Memory(
        lanes=1,
        lane_bytes=lane_bytes(settings.metric_customers),
        board_bytes=BOARD_BYTES * (settings.metric_customers + 8),
    )
    lane = memory.take()
    assert lane is not None
    share(lane)
    listener = Listener(bind=settings.dispatcher_metrics_bind, memory=memory)
    listener.start()
    if listener.address:
        log.info("metrics_shown", address=listener.address)
    measures = DispatchMeasures(customers=customers, own=ProcessMeasures(memory=memory, listener=listener))
    measures.own.named("dispatcher", name)
    return measures

"""What the processes of a worker count, a lane each."""

import time
from collections import Counter as Tally
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from prometheus_client import Counter, Histogram

from db.customers.rows import Stage
from operators import LabelNames
from tasks.handover import Header
from tasks.measures import names
from tasks.measures.processes import ConnectionMeasures

DeliveryKind = Literal["first", "redelivered", "after_death"]


@dataclass(kw_only=True)
class StageMeasures:
    """Counts of one process. Counting takes microseconds of a window's milliseconds, and no lock that another
    process could hold.
    """

    customers: LabelNames = field(default_factory=lambda: LabelNames(100))
    connections: ConnectionMeasures = field(default_factory=ConnectionMeasures)
    _deliveries: Counter = field(default_factory=names.DELIVERIES.counter)
    _failures: Counter = field(default_factory=names.TASK_FAILURES.counter)
    _deposits: Counter = field(default_factory=names.DEPOSITS.counter)
    _windows: Counter = field(default_factory=names.DEPOSITED_WINDOWS.counter)
    _batches: Counter = field(default_factory=names.DEPOSITED_BATCHES.counter)
    _events: Counter = field(default_factory=names.DEPOSITED_EVENTS.counter)
    _bytes: Counter = field(default_factory=names.DEPOSITED_BYTES.counter)
    _sizes: Histogram = field(default_factory=names.DEPOSIT_WINDOWS.histogram)
    _grouped: Counter = field(default_factory=names.GROUPED_WINDOWS.counter)
    _lag: Histogram = field(default_factory=names.DEPOSIT_LAG.histogram)
    _decode: Histogram = field(default_factory=names.DECODE_SECONDS.histogram)
    _process: Histogram = field(default_factory=names.PROCESS_SECONDS.histogram)
    _deposit: Histogram = field(default_factory=names.DEPOSIT_SECONDS.histogram)
    _seconds: Counter = field(default_factory=names.STAGE_SECONDS.counter)
    _rejected: Counter = field(default_factory=names.REJECTED.counter)
    _quarantined: Counter = field(default_factory=names.QUARANTINED.counter)
    _withheld: Counter = field(default_factory=names.WITHHELD.counter)
    _openings: Counter = field(default_factory=names.BREAKER_OPENINGS.counter)

    def delivered(self, slug: str, kind: DeliveryKind) -> None:
        """A window came to decode."""
        self._deliveries.labels(self.customers.label(slug), kind).inc()

    def grouped(self, *, deposited: int, left: int) -> None:
        """Of a group so many windows were deposited together, and so many go their own way."""
        self._grouped.labels("deposited").inc(deposited)
        self._grouped.labels("left").inc(left)

    def failed(self, task: str, error: str) -> None:
        """A task ended with an error of this type."""
        self._failures.labels(task, error).inc()

    @contextmanager
    def working(self, slug: str, stage: Stage) -> Iterator[None]:
        """Around a stage's work on a window, however it ends."""
        began_s = time.perf_counter()
        try:
            yield
        finally:
            spent_s = time.perf_counter() - began_s
            self._of_stage(stage).observe(spent_s)
            self._seconds.labels(self.customers.label(slug), stage).inc(spent_s)

    @contextmanager
    def working_together(self, slugs: Sequence[str], stage: Stage) -> Iterator[None]:
        """As `working`, on windows of several customers: each has an equal share of the time."""
        began_s = time.perf_counter()
        try:
            yield
        finally:
            spent_s = time.perf_counter() - began_s
            self._of_stage(stage).observe(spent_s)
            for slug in slugs:
                self._seconds.labels(self.customers.label(slug), stage).inc(spent_s / len(slugs))

    def deposited(self, slug: str, headers: Sequence[Header], size: int, lags_s: Sequence[float]) -> None:
        """A deposit of these windows was committed: `size` bytes of results, and how old each window was."""
        label = self.customers.label(slug)
        self._deposits.labels(label).inc()
        self._windows.labels(label).inc(len(headers))
        self._batches.labels(label).inc(sum(header.batches for header in headers))
        self._events.labels(label).inc(sum(header.decoded for header in headers))
        self._bytes.labels(label).inc(size)
        self._sizes.observe(len(headers))
        for lag_s in lags_s:
            self._lag.observe(max(0.0, lag_s))
        for header in headers:
            # Most windows have neither.
            if header.rejects:
                for reason, count in Tally(row.reason for row in header.rejects).items():
                    self._rejected.labels(label, reason).inc(count)
            if header.unfit:
                for reason, count in Tally(row.reason for row in header.unfit).items():
                    self._quarantined.labels(label, reason).inc(count)

    def _of_stage(self, stage: Stage) -> Histogram:
        return {"decode": self._decode, "process": self._process, "deposit": self._deposit}[stage]

    def withheld(self, slug: str, rows: int) -> None:
        """Rows of quarantine were written without their bytes."""
        self._withheld.labels(self.customers.label(slug)).inc(rows)

    def breaker_opened(self, slug: str) -> None:
        self._openings.labels(self.customers.label(slug)).inc()

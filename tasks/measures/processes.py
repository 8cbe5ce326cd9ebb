"""What every dispatcher and worker shows of itself."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from prometheus_client import Counter, Gauge, Histogram

from operators import Listener, Memory
from tasks.measures import names

LABELLED = "sluice_stage_seconds_total", "sluice_deliveries_total", "sluice_dispatched_windows_total"
"""Counters that every customer with a name of its own has: a successor in a lane goes on with these names."""


KEPT_S = 1.0
"""Seconds between two looks at whether the listener still runs."""


def lane_bytes(most_customers: int) -> int:
    """Room for every series that there can be, at some 300 bytes each: 48 a customer, and the rest."""
    return (600 + 48 * most_customers) * 448


@dataclass(kw_only=True)
class ProcessMeasures:
    """Of a process with a main loop. Made after the process has its lane, as all metrics are."""

    memory: Memory | None = None
    listener: Listener | None = None  # kept running from here
    _beat: Gauge = field(default_factory=names.BEAT.gauge)
    _delay: Histogram = field(default_factory=names.LOOP_DELAY.histogram)
    _info: Gauge = field(default_factory=names.PROCESS_INFO.gauge)
    _looked_s: float = 0.0

    def named(self, process: str, name: str) -> None:
        """Say what this process is."""
        self._info.labels(process, name).set(1)

    def turned(self, delay_s: float | None = None, *, ready: bool) -> None:
        """The main loop turned, so many seconds late; `ready` while it has all that it needs."""
        self._beat.set(time.time())
        if delay_s is not None:
            self._delay.observe(max(0.0, delay_s))
        if self.memory is not None:
            self.memory.signs.beat(ready=ready)
        if self.listener is not None and time.monotonic() >= self._looked_s + KEPT_S:
            self._looked_s = time.monotonic()
            self.listener.keep()


@dataclass(kw_only=True)
class ConnectionMeasures:
    """Of a process that has connections to the database and to the broker."""

    _waits: Histogram = field(default_factory=names.DATABASE_WAIT.histogram)
    _reconnects: Counter = field(default_factory=names.RECONNECTS.counter)

    def __post_init__(self) -> None:
        # From 0 on, so that the first one is seen as a growth.
        for to in ("streams", "database"):
            self._reconnects.labels(to)

    def waited(self, seconds: float) -> None:
        """A connection to the database was had."""
        self._waits.observe(seconds)

    def reconnected(self, to: str) -> Callable[[], None]:
        """To be called whenever a connection `to` something is made again."""
        return self._reconnects.labels(to).inc

"""What is measured, as values that become JSON."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from bench.measuring.account import Used

LOAD = "load generator"


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Milliseconds, over so many batches."""

    batches: int
    p50: float
    p99: float
    p999: float
    max: float

    @classmethod
    def of(cls, ms: npt.NDArray[np.float64]) -> Self:
        if not len(ms):
            raise ValueError("no batch was committed: there is no latency")
        p50, p99, p999 = np.percentile(ms, (50, 99, 99.9), method="higher").tolist()
        return cls(batches=len(ms), p50=p50, p99=p99, p999=p999, max=float(ms.max()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """Per million events, by role: CPU seconds and bytes written per event."""

    cpu_s: dict[str, float]
    written_bytes_per_event: dict[str, float]

    @classmethod
    def of(cls, used: dict[str, Used], events: int) -> Self:
        events = max(events, 1)
        return cls(
            cpu_s={role: one.cpu_s / events * 1e6 for role, one in used.items()},
            written_bytes_per_event={role: one.written / events for role, one in used.items()},
        )

    @property
    def stack_cpu_s(self) -> float:
        """Of everything but the program that makes the load."""
        return sum(seconds for role, seconds in self.cpu_s.items() if role != LOAD)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One measurement. `events_per_s` were committed; the lag is of events accepted and not yet committed."""

    name: str
    batch: str
    batch_events: int
    attributes: int  # of an event
    seconds: float
    events: int
    events_per_s: float
    requests_per_s: float
    cost: Cost
    cores_used: float
    ack_ms: dict[str, float]
    retried: int
    body_bytes_per_event: float
    lag_events: list[tuple[float, int]]
    asked_events_per_s: float | None = None  # of a run at a rate
    customers: int = 1
    latency: Latency | None = None
    windows: dict[str, float] | None = None

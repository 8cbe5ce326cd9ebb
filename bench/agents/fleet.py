"""Many agents of one customer at once: threads, a common pace, and the tally of their batches."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from bench.agents.agent import Agent, Batch, PostOutcome, Retry, Sent

Plan = TypeVar("Plan")
_LISTED_PROBLEMS = 20
_CATCH_UP_S = 1.0


@dataclass(slots=True, kw_only=True)
class Tally:
    """Counts of batches by outcome; events, bytes and latencies (s) of the accepted ones."""

    batches: dict[PostOutcome, int] = field(default_factory=lambda: dict.fromkeys(PostOutcome, 0))
    events: int = 0
    size: int = 0
    retries: int = 0
    latencies_s: list[float] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def add(self, sent: Sent) -> None:
        self.batches[sent.outcome] += 1
        self.retries += sent.tries - 1
        if sent.outcome is PostOutcome.ACCEPTED:
            self.events += sent.events
            self.size += sent.size
            self.latencies_s.append(sent.latency_s)
        elif len(self.problems) < _LISTED_PROBLEMS:
            self.problems.append(f"{sent.batch_id}: {sent.outcome} after {sent.tries} tries: {sent.detail}")

    def latency_ms(self, percent: float) -> float:
        """The percentile of the acknowledgements' latencies, nearest rank; 0 when there are none."""
        ordered = sorted(self.latencies_s)
        return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)] * 1e3 if ordered else 0.0


class RateLimiter:
    """Lets events pass at a rate, whoever asks; what was missed is made up for up to one second back."""

    def __init__(self, events_per_s: float | None) -> None:
        self._events_per_s = events_per_s
        self._lock = threading.Lock()
        self._due = time.monotonic()

    def wait(self, events: int, stop: threading.Event) -> None:
        """Return when `events` more may be sent, or at once when asked to stop."""
        if self._events_per_s is None:
            return
        with self._lock:
            due = max(self._due, time.monotonic() - _CATCH_UP_S)
            self._due = due + events / self._events_per_s
        stop.wait(max(0.0, due - time.monotonic()))


class _Shared(Generic[Plan]):
    """One iterator for several threads: each item goes to one of them."""

    def __init__(self, plans: Iterable[Plan]) -> None:
        self._plans = iter(plans)
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Plan]:
        return self

    def __next__(self) -> Plan:
        with self._lock:
            return next(self._plans)


def post_all(
    plans: Iterable[Plan],
    make: Callable[[Plan], Batch],
    *,
    url: str,
    key: str,
    threads: int = 4,
    pace: RateLimiter | None = None,
    retry: Retry | None = None,
    stop: threading.Event | None = None,
    on_sent: Callable[[Sent], None] = lambda sent: None,
) -> Tally:
    """Make a batch of each plan and send it; ends when the plans do or `stop` is set.

    `make` runs in the sending threads. `on_sent` is called by one thread at a time. What either raises stops
    all threads (by setting `stop`) and is raised here.
    """
    stop, pace, tally, lock = stop or threading.Event(), pace or RateLimiter(None), Tally(), threading.Lock()
    waiting = _Shared(plans)

    def work() -> None:
        agent = Agent(url, key, retry=retry, stop=stop)
        try:
            for plan in waiting:
                batch = make(plan)
                pace.wait(batch.events, stop)
                if stop.is_set():
                    return
                sent = agent.send(batch)
                with lock:
                    tally.add(sent)
                    on_sent(sent)
        except BaseException:
            stop.set()
            raise
        finally:
            agent.close()

    with ThreadPoolExecutor(threads, thread_name_prefix="agent") as pool:
        for done in [pool.submit(work) for _ in range(threads)]:
            done.result()
    return tally

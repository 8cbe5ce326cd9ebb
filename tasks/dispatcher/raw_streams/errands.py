"""What takes a customer's stream a while, done beside the dispatcher's loop: its beat waits for no stream."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Generic, NamedTuple, TypeVar

AT_ONCE = 16
"""Errands under way at the same time. They wait for the broker, and use no processor meanwhile."""
PAUSE_S, MOST_PAUSE_S = 1.0, 30.0
"""How long a customer is left alone after a failed errand; doubles with each further one."""

T = TypeVar("T")


class Done(NamedTuple, Generic[T]):
    """An errand that has ended: its outcome, or what it raised."""

    customer_id: int
    outcome: T | None
    error: Exception | None


class _Failures(NamedTuple):
    times: int
    again_at_s: float


@dataclass(kw_only=True)
class Errands(Generic[T]):
    """At most one errand a customer, `AT_ONCE` in all; others wait, those that never failed before the rest.

    Not safe for threads: for the dispatcher's loop alone.
    """

    _pool: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(AT_ONCE, "errand"))
    _waiting: dict[int, Callable[[], T]] = field(default_factory=dict)
    _under_way: dict[int, Future[T]] = field(default_factory=dict)
    _failures: dict[int, _Failures] = field(default_factory=dict)

    def __contains__(self, customer_id: int) -> bool:
        return customer_id in self._waiting or customer_id in self._under_way

    @property
    def busy(self) -> bool:
        """Whether any is under way."""
        return bool(self._under_way)

    def may_go(self, customer_id: int) -> bool:
        """Whether the customer has none already, and is not left alone after a failure."""
        failed = self._failures.get(customer_id)
        return customer_id not in self and (failed is None or time.monotonic() >= failed.again_at_s)

    def go(self, customer_id: int, errand: Callable[[], T]) -> None:
        """Begin it, now or when its turn comes."""
        self._waiting[customer_id] = errand
        self._start()

    def failed(self, customer_id: int) -> None:
        """Leave the customer alone for a while, longer each time."""
        count = self._failures[customer_id].times + 1 if customer_id in self._failures else 1
        pause_s = min(PAUSE_S * 2.0 ** min(count - 1, 10), MOST_PAUSE_S)
        self._failures[customer_id] = _Failures(count, time.monotonic() + pause_s)

    def postpone(self, customer_id: int) -> None:
        """Leave the customer alone for a moment: what failed was not its own."""
        times = self._failures[customer_id].times if customer_id in self._failures else 0
        self._failures[customer_id] = _Failures(times, time.monotonic() + PAUSE_S)

    def succeeded(self, customer_id: int) -> None:
        self._failures.pop(customer_id, None)

    def done(self) -> Iterator[Done[T]]:
        """Those that have ended since the last call."""
        for customer_id, future in [each for each in self._under_way.items() if each[1].done()]:
            del self._under_way[customer_id]
            error = future.exception()
            if error is not None and not isinstance(error, Exception):
                raise error
            yield Done(customer_id, None if error else future.result(), error)
        self._start()

    def close(self) -> None:
        """Begin no more; what is under way ends when the broker is closed."""
        self._waiting.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        if len(self._under_way) >= AT_ONCE:
            return
        for customer_id in sorted(self._waiting, key=self._rank):
            if len(self._under_way) >= AT_ONCE:
                return
            self._under_way[customer_id] = self._pool.submit(self._waiting.pop(customer_id))

    def _rank(self, customer_id: int) -> int:
        failed = self._failures.get(customer_id)
        return failed.times if failed else 0

"""How fast a customer's windows may follow each other, and how many events their bytes are likely to hold."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

FIRST_GUESS = 1 / 50  # events per byte of a customer of whom nothing was deposited yet
BURST_S = 1.0  # so many seconds' worth of events a throttled customer's window aims at
SLACK_S = 0.5  # so late a window may be without the next one's waiting for longer


@dataclass(frozen=True, slots=True, kw_only=True)
class _Last:
    """The last window of a throttled customer: its bytes, and since when they are being paid for."""

    size: int
    since_s: float


@dataclass(kw_only=True)
class Pace:
    """Estimates by customer. The receiver does not look inside a batch, so the number of its events is a
    guess until windows of the customer were deposited.

    In any `t` seconds a throttled customer gets `events_per_second × (t + SLACK_S)` events and one
    window, as far as the estimate holds.
    """

    clock: Callable[[], float] = time.monotonic
    _events_per_byte: dict[int, float] = field(default_factory=dict)
    _last: dict[int, _Last] = field(default_factory=dict)

    def learn(self, yields: Mapping[int, tuple[int, int]]) -> None:
        """Take over what recent windows held: customer → (events, bytes)."""
        for customer_id, (events, size) in yields.items():
            if events and size:
                self._events_per_byte[customer_id] = events / size

    def events_per_byte(self, customer_id: int) -> float:
        return self._events_per_byte.get(customer_id, FIRST_GUESS)

    def most_events(self, most: int, events_per_second: float | None) -> int:
        """How many events a window may aim at: `most`, or less under a throttle, to pace evenly."""
        return min(most, max(1, int(events_per_second * BURST_S))) if events_per_second else most

    def may_go(self, customer_id: int, events_per_second: float | None) -> bool:
        """Whether a customer's next window is due."""
        return self.clock() >= self._paid_at_s(customer_id, events_per_second)

    def went(self, customer_id: int, size: int, events_per_second: float | None) -> None:
        """A window of `size` bytes was recorded: under a throttle the next one waits until its events are
        paid for. What the throttle or the estimate becomes meanwhile counts for that window too.
        """
        if not events_per_second:
            self._last.pop(customer_id, None)
            return
        # The rounds of the dispatcher come late; what they are late by, but no more, is made up for.
        since_s = max(self._paid_at_s(customer_id, events_per_second), self.clock() - SLACK_S)
        self._last[customer_id] = _Last(size=size, since_s=since_s)

    def _paid_at_s(self, customer_id: int, events_per_second: float | None) -> float:
        last = self._last.get(customer_id)
        if last is None or not events_per_second:
            return 0.0
        return last.since_s + last.size * self.events_per_byte(customer_id) / events_per_second

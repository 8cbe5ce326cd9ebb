"""What was let in of a limited customer."""

from dataclasses import dataclass
from typing import ClassVar

from db.customers.day_use import Written
from webapp.limits.leaky_bucket import left
from webapp.limits.meters import Meter


@dataclass(slots=True)
class CustomerMeter(Meter[int]):
    """`bytes_spent` and `batches_spent` are in its leaky buckets, as of `advanced_s` (monotonic); `used` are
    the bytes accepted on the day by this receiver, `others` by all others.

    Its buckets are empty again when it was forgotten.
    """

    NAME: ClassVar[str] = "meters"
    GROUPS: ClassVar[int] = 4096
    WAYS: ClassVar[int] = 8

    bytes_spent: float = 0.0
    batches_spent: float = 0.0
    advanced_s: float = 0.0
    used: int = 0
    others: int = 0

    def advance(self, now_s: float, bytes_rate: float | None, batches_rate: float | None) -> None:
        """Let the time pass until `now_s`; without a rate there is nothing to work off."""
        elapsed = now_s - self.advanced_s
        self.bytes_spent = left(self.bytes_spent, bytes_rate, elapsed) if bytes_rate else 0.0
        self.batches_spent = left(self.batches_spent, batches_rate, elapsed) if batches_rate else 0.0
        self.advanced_s = now_s

    @property
    def own(self) -> int:
        return self.used

    def forget(self) -> None:
        """Count a day from nothing."""
        self.used = self.others = 0

    def add(self, written: Written[int]) -> None:
        """What receivers wrote of the day: what this one wrote is added, unless it was `learned`."""
        self.used += 0 if self.learned else written.own
        self.others = written.others

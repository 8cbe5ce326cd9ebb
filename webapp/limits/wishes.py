"""What an agent is asked for before a limit refuses it: pure arithmetic.

Nothing is asked for below ASK_FROM of a limit. An agent need not do it: what is beyond a limit is refused.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeVar

from webapp.limits.leaky_bucket import BURST_S

N = TypeVar("N", int, float)
ASK_FROM = 0.8
MOST_AFTER_S = 300
"""Nobody is asked to keep batches for longer than this."""
LEAST_SAMPLE = 0.001
DAY_S = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Wishes:
    """Of the agent's next batches: send it after so many seconds, of so many bytes at most, and keep this
    share of the events. None: as it likes.
    """

    after_s: float | None = None
    most_bytes: int | None = None
    sample: float | None = None

    def both(self, other: "Wishes") -> "Wishes":
        """What meets both."""
        return Wishes(
            after_s=max((one for one in (self.after_s, other.after_s) if one is not None), default=None),
            most_bytes=_least(self.most_bytes, other.most_bytes),
            sample=_least(self.sample, other.sample),
        )

    def headers(self) -> dict[str, str]:
        """As an answer says it."""
        found = {}
        if self.after_s is not None:
            found["Sluice-Next-Batch-After"] = str(min(MOST_AFTER_S, max(1, math.ceil(self.after_s))))
        if self.most_bytes is not None:
            found["Sluice-Next-Batch-Max-Bytes"] = str(max(1, self.most_bytes))
        if self.sample is not None:
            found["Sluice-Sample"] = f"{max(LEAST_SAMPLE, self.sample):.3f}"
        return found


NONE = Wishes()


def all_of(found: Iterable[Wishes]) -> Wishes:
    """What meets all; NONE itself when nothing is asked for."""
    asked = NONE
    for one in found:
        if one is not NONE:
            asked = one if asked is NONE else asked.both(one)
    return asked


def of_rate(spent: float, rate: float, *, bytes_: bool) -> Wishes:
    """Near what fits into a leaky bucket (`leaky_bucket`): wait until it is worked off, and send half of what
    fits.
    """
    if spent < ASK_FROM * rate * BURST_S:
        return NONE
    return Wishes(after_s=spent / rate, most_bytes=int(rate * BURST_S / 2) if bytes_ else None)


def of_day(used: int, allowed: int, size: int | None, left_s: float, *, bytes_: bool) -> Wishes:
    """Near what is allowed in a day, of which `left_s` are left: batches of `size` so seldom that the rest
    lasts, unless their size is not known (None), and the share of the events that would last if the day goes
    on as it began.
    """
    if used < ASK_FROM * allowed:
        return NONE
    rest = max(0, allowed - used)
    to_come = used / max(1.0, DAY_S - left_s) * left_s
    return Wishes(
        after_s=None if size is None else left_s * size / max(1, rest),
        most_bytes=rest if bytes_ else None,
        sample=rest / to_come if rest < to_come else None,
    )


def _least(one: N | None, other: N | None) -> N | None:
    return min((each for each in (one, other) if each is not None), default=None)

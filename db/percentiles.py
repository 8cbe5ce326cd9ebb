"""What questions in SQL may call on SQLite, as the migrations give it to PostgreSQL: `percentile_ms`."""

import json
import sqlite3
from collections import Counter

_GROWTH = 1.1  # of the buckets' ends, as docs/pipeline.md says
_US = 1000.0


class MergedHistograms:
    """The aggregate `percentile_ms(histogram, least_ms, most_ms, share)`: of the rows' histograms, added up.

    The result is in ms: the value of the bucket in which that share of the events is reached, but not less
    than the smallest `least_ms` and not more than the largest `most_ms`. Null without rows.
    """

    def __init__(self) -> None:
        self._events: Counter[int] = Counter()
        self._least_ms = self._most_ms = self._share = -1.0

    def step(
        self, histogram: str | None, least_ms: float | None, most_ms: float | None, share: float | None
    ) -> None:
        """Add a row; one with a null adds nothing. Raises ValueError for a share below 0 or above 1."""
        if histogram is None or least_ms is None or most_ms is None or share is None:
            return
        if self._share < 0:
            if not 0 <= share <= 1:
                raise ValueError(f"the share of a percentile is between 0 and 1, not {share}")
            self._share, self._least_ms, self._most_ms = share, least_ms, most_ms
        self._least_ms = min(self._least_ms, least_ms)
        self._most_ms = max(self._most_ms, most_ms)
        for bucket, events in json.loads(histogram).items():
            self._events[int(bucket)] += events

    def finalize(self) -> float | None:
        """The percentile of what was added."""
        so_far, wanted = 0, self._share * self._events.total()
        for bucket in sorted(self._events):
            so_far += self._events[bucket]
            if so_far >= wanted:
                value_ms = 2 * _GROWTH**bucket / (1 + _GROWTH) / _US
                return max(self._least_ms, min(self._most_ms, value_ms))
        return None


def register(driver: sqlite3.Connection) -> None:
    """Let questions on this connection call `percentile_ms`."""
    # typeshed knows of aggregates of integers only.
    driver.create_aggregate("percentile_ms", 4, MergedHistograms)  # type: ignore[arg-type]

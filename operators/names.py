"""Which customers have a label value of their own: a bound on what a flood of customers can do to metrics."""

import threading
from collections.abc import Iterable

OTHER = "_other"
"""The label value of all others; no slug can begin so."""
PROMOTED_AFTER = 1_000
"""Times that a customer is counted before it may take one of the names held back for the busy ones."""


class LabelNames:
    """At most `most` customers with a name of their own, and `_other` for the rest.

    Half of the names go to those that come first, the other half to those that turn out busy. A name once
    given stays, since a counter must never go back.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._free_for_all = most - most // 2
        self._named: set[str] = set()
        self._waiting: dict[str, int] = {}
        self._lock = threading.Lock()

    def go_on(self, labels: Iterable[str]) -> None:
        """Keep the names that a predecessor gave."""
        with self._lock:
            self._named |= {label for label in labels if label != OTHER}

    def label(self, slug: str) -> str:
        """The label value under which the customer is counted now."""
        if slug in self._named:
            return slug
        with self._lock:
            if len(self._named) >= self._most:
                return OTHER
            seen = self._waiting.get(slug, 0) + 1
            if len(self._named) >= self._free_for_all and seen < PROMOTED_AFTER:
                self._waiting[slug] = seen
                return OTHER
            self._waiting.pop(slug, None)
            self._named.add(slug)
            return slug

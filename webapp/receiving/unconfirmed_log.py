"""The log of batches that were not confirmed: few lines, however many batches."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

log = structlog.get_logger(__name__)

PAUSE_S = 1.0
"""A customer has one line in so many seconds."""
MOST_CUSTOMERS = 1000
"""So many are remembered."""


@dataclass(slots=True)
class _Told:
    at_s: float
    batches: int = 0


class UnconfirmedLog:
    """Of one process. A line says how many `batches` of its customer there were since the line before."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told: dict[str, _Told] = {}

    def tell(self, customer: str, error: Exception) -> None:
        """One more batch of the customer was not confirmed."""
        now = self._clock()
        told = self._told.get(customer)
        if told is None:
            if len(self._told) >= MOST_CUSTOMERS:
                # The one that was the first to be told of.
                self._told.pop(next(iter(self._told), ""), None)
            told = self._told[customer] = _Told(now - PAUSE_S)
        told.batches += 1
        if now - told.at_s >= PAUSE_S:
            log.warning(
                "batch_not_confirmed", customer=customer, error=type(error).__name__, batches=told.batches
            )
            told.at_s, told.batches = now, 0

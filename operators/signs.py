"""Signs of life of a process, for those who ask the operators' listener how it is."""

import struct
import time

STUCK_S = 90.0
"""Longer than any call of a loop may take: each has a deadline, and an outage is met between two calls."""
# When the loop last turned (monotonic seconds), and 1 when it is ready for work.
_SIGNS = struct.Struct("=dd")


class Signs:
    """When the loop of a process last turned, in the monotonic time of this host, and whether it works."""

    SIZE = _SIGNS.size

    def __init__(self, page: memoryview) -> None:
        self._page = page

    def beat(self, *, ready: bool) -> None:
        """The loop turns; `ready` while it has all that it needs for its work."""
        self._page[: _SIGNS.size] = _SIGNS.pack(time.monotonic(), float(ready))

    @property
    def age_s(self) -> float | None:
        """Seconds since the last beat; None before the first."""
        at_s: float = _SIGNS.unpack_from(self._page, 0)[0]
        return time.monotonic() - at_s if at_s else None

    @property
    def alive(self) -> bool:
        """Whether the loop turns, or has not begun to."""
        return (self.age_s or 0.0) < STUCK_S

    @property
    def ready(self) -> bool:
        """Whether it turns and said that it works."""
        return self.age_s is not None and self.alive and _SIGNS.unpack_from(self._page, 0)[1] == 1.0

"""How many worker processes would keep up with what comes. Pure: figures in, a number out."""

import math
from dataclasses import dataclass

HALF_LIFE_S = 300.0
"""After so long an observation counts half."""
LOADED = 0.8
"""How much of a process's time may be taken when nothing is owed: bursts need the rest."""
MOST_TIMES = 10
"""At most so many times the processes that there are: an estimate is no more than that."""
LEAST_BACKLOG_S = 10.0
"""A backlog is to be worked off within the target, or in this time if the target is shorter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueLoad:
    """What the customers of one kind of workers did in `seconds`: bytes deposited, for how long their windows
    were in flight all together, bytes owed now and at the time before, and the age of the oldest of them.
    """

    seconds: float
    processes: int
    deposited_bytes: int
    in_flight_s: float
    owed_bytes: float
    owed_bytes_before: float
    oldest_owed_s: float


@dataclass(slots=True, kw_only=True)
class Capacity:
    """What a worker process can do, learned from what was done.

    As many processes were busy as windows were in flight on average (Little's law), or all there were. Where
    windows wait for a process, this calls processes busy that are not, and rather asks for too many.
    """

    target_s: float
    _bytes: float = 0.0
    _busy_s: float = 0.0
    _arriving: float = 0.0  # bytes a second

    def wanted(self, load: QueueLoad) -> int:
        """Processes that would bring the age of the oldest owed batch below the target, and keep it there."""
        self._learn(load)
        alive, late = load.processes, load.oldest_owed_s > self.target_s
        # Late, and it is not getting better: at least one more, whatever was learned.
        least = alive + 1 if late and load.owed_bytes >= load.owed_bytes_before else 0
        each = self._bytes / self._busy_s if self._busy_s else 0.0
        if each == 0.0:
            return max(1, least, 0 if least else alive)
        needed = self._arriving / each / LOADED
        if late:
            backlog = max(0.0, load.owed_bytes - self._arriving * self.target_s)
            needed += backlog / each / max(self.target_s, LEAST_BACKLOG_S)
        return max(1, least, min(math.ceil(needed), MOST_TIMES * max(1, alive)))

    def _learn(self, load: QueueLoad) -> None:
        kept = 0.5 ** (load.seconds / HALF_LIFE_S)
        busy_s = min(float(load.processes) * load.seconds, load.in_flight_s)
        if load.deposited_bytes and busy_s > 0.0:
            self._bytes = self._bytes * kept + load.deposited_bytes
            self._busy_s = self._busy_s * kept + busy_s
        came = max(0.0, load.deposited_bytes + load.owed_bytes - load.owed_bytes_before)
        weight = 1.0 - 0.5 ** (load.seconds / max(self.target_s, LEAST_BACKLOG_S))
        self._arriving += (came / load.seconds - self._arriving) * weight

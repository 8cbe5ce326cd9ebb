"""How many worker processes each kind of workers would need: dedicated ones by queue, and the shared ones."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from db.accounting.measured import NOTHING_DONE, Throughput
from db.customers.rows import own_queue
from db.ledger.workers import SHARED
from operators import OTHER
from tasks.measures.figures import CustomerFigures
from tasks.measures.wanted import Capacity, QueueLoad

SHARED_LABEL = "shared"


@dataclass(slots=True, kw_only=True)
class _QueueSum:
    deposited_bytes: int = 0
    in_flight_s: float = 0.0
    owed_bytes: float = 0.0
    oldest_owed_s: float = 0.0


@dataclass(kw_only=True)
class Loads:
    """By queue, with what was learned of its workers; at most `most` dedicated queues have a name."""

    target_s: float
    most: int
    _capacities: dict[str, Capacity] = field(default_factory=dict)
    _owed_before: dict[str, float] = field(default_factory=dict)

    def look(
        self,
        figures: Collection[CustomerFigures],
        done: Mapping[int, Throughput],
        processes: Mapping[str, int],
        *,
        seconds: float,
        now_us: int,
    ) -> tuple[Mapping[str, int], Mapping[str, int]]:
        """Processes that there are and that are wanted, by queue; `done` in the last so many seconds."""
        sums: dict[str, _QueueSum] = {queue: _QueueSum() for queue in self._named(processes)}
        sums.setdefault(SHARED_LABEL, _QueueSum())
        for one in figures:
            queue = own_queue(one.customer.slug)
            into = sums.get(queue) or sums[OTHER if queue in processes else SHARED_LABEL]
            was = done.get(one.customer.id, NOTHING_DONE)
            into.deposited_bytes += was.bytes
            into.in_flight_s += was.in_flight_s
            # What nobody works on, or not faster than it may, needs no more workers.
            if not one.held_back:
                into.owed_bytes += one.owed_bytes
                into.oldest_owed_s = max(into.oldest_owed_s, one.oldest_owed_s(now_us))
        there = self._there(processes, sums)
        wanted = {}
        for queue, found in sums.items():
            capacity = self._capacities.setdefault(queue, Capacity(target_s=self.target_s))
            load = QueueLoad(
                seconds=seconds,
                processes=there[queue],
                deposited_bytes=found.deposited_bytes,
                in_flight_s=found.in_flight_s,
                owed_bytes=found.owed_bytes,
                owed_bytes_before=self._owed_before.get(queue, found.owed_bytes),
                oldest_owed_s=found.oldest_owed_s,
            )
            wanted[queue] = capacity.wanted(load)
        self._owed_before = {queue: found.owed_bytes for queue, found in sums.items()}
        self._capacities = {queue: self._capacities[queue] for queue in sums}
        return there, wanted

    def _named(self, processes: Mapping[str, int]) -> list[str]:
        dedicated = sorted(queue for queue in processes if queue != SHARED)
        return dedicated[: self.most] + ([OTHER] if len(dedicated) > self.most else [])

    def _there(self, processes: Mapping[str, int], sums: Mapping[str, _QueueSum]) -> dict[str, int]:
        there = dict.fromkeys(sums, 0)
        for queue, count in processes.items():
            name = SHARED_LABEL if queue == SHARED else queue if queue in sums else OTHER
            there[name] += count
        return there

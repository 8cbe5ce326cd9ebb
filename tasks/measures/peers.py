"""The workers and dispatchers that are alive, as the measuring dispatcher sees their beats."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from db.accounting.measured import WorkerBeat
from db.ledger.workers import DISPATCHER, SHARED, SILENT_S

MOST = 200
GONE_S = 3_600.0
"""A worker that was killed is not struck off by anybody: so long its silence is shown."""


@dataclass(kw_only=True)
class Peers:
    """Beats by name, and since when each has not changed, in monotonic seconds of this host."""

    _seen: dict[str, tuple[WorkerBeat, float]] = field(default_factory=dict)

    def saw(self, beats: Iterable[WorkerBeat], now_s: float) -> None:
        """These beats are there now."""
        before = self._seen
        self._seen = {
            one.name: (one, before[one.name][1])
            if one.name in before and before[one.name][0].beat == one.beat
            else (one, now_s)
            for one in beats
        }

    def ages_s(self, now_s: float) -> Mapping[tuple[str, str], float]:
        """Since the last beat, by process and name, of the `MOST` that beat last."""
        ages = {}
        for name, (one, since_s) in self._seen.items():
            process = "dispatcher" if one.dispatches else "worker"
            if now_s - since_s < GONE_S:
                ages[process, name.removeprefix(DISPATCHER)] = now_s - since_s
        return dict(sorted(ages.items(), key=lambda each: each[1])[:MOST])

    def processes(self, now_s: float) -> Mapping[str, int]:
        """Processes of the workers that live, as `db.ledger.workers.Attendance` counts them."""
        found = {SHARED: 0}
        for one, since_s in self._seen.values():
            if one.dispatches or now_s - since_s >= SILENT_S:
                continue
            for queue in one.queues if one.dedicated else (SHARED,):
                found[queue] = found.get(queue, 0) + one.processes
        return found

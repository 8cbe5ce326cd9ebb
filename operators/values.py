"""prometheus_client's values in shared memory, and the sum of all processes' values.

Its own way for several processes are files that grow at a request: on a full disk the process that touches
such a file's next page is killed (SIGBUS), and each process that dies leaves its files.
"""

import json
import threading
import time
from collections.abc import Iterator, Sequence

import prometheus_client.values
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from operators.memory import Lane, Memory
from operators.names import OTHER

Labels = tuple[tuple[str, str], ...]

SHOWN_S = 86_400.0
"""So long after it was last counted a customer's counter is shown: those of a deleted customer go."""


def share(lane: Lane) -> None:
    """Keep the values of all metrics that this process makes from now on in the lane.

    A series for which it has no room is counted on and not shown. Gauges must be of the mode `mostrecent`.
    """
    lock = threading.Lock()

    class SharedValue:
        """What prometheus_client.values.MutexValue is, in a lane; the constructor's arguments are its."""

        def __init__(
            self,
            typ: str,
            metric_name: str,
            name: str,
            labelnames: Sequence[str],
            labelvalues: Sequence[str],
            help_text: str,
            **mode: str,
        ) -> None:
            labels = dict(zip(labelnames, labelvalues, strict=True))
            key = json.dumps([typ, metric_name, name, help_text, labels], sort_keys=True)
            with lock:
                self._cell = lane.cell(key.encode())
                self._value = 0.0 if self._cell is None else lane.get(self._cell)[0]

        def inc(self, amount: float) -> None:
            with lock:
                self._value += amount
                if self._cell is not None:
                    lane.set(self._cell, self._value, time.time())

        def set(self, value: float, timestamp: float | None = None) -> None:
            with lock:
                self._value = value
                if self._cell is not None:
                    lane.set(self._cell, value, timestamp or 0.0)

        def get(self) -> float:
            return self._value

        def set_exemplar(self, exemplar: object) -> None:
            """Not kept."""

        def get_exemplar(self) -> None:
            return None

    prometheus_client.values.ValueClass = SharedValue


def label_values(lane: Lane, sample: str, label: str) -> list[str]:
    """The values that a sample's label has in the lane, in the order in which they came."""
    keys = (json.loads(name) for name, _, _ in lane.numbers())
    return [labels[label] for _, _, name, _, labels in keys if name == sample]


def exposition(memory: Memory) -> bytes:
    """All processes' metrics in Prometheus' text format, and what is on the board."""
    registry = CollectorRegistry()
    registry.register(_Sum(memory))
    return generate_latest(registry) + memory.board.shown()


class _Sum(Collector):
    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        samples: dict[str, dict[tuple[str, Labels], float]] = {}
        newest: dict[tuple[str, Labels], float] = {}
        for lane in self._memory.lanes():
            for name, value, set_at_s in lane.numbers():
                typ, family, sample, help_text, labels = json.loads(name)
                families.setdefault(family, Metric(family, help_text, typ))
                found, key = samples.setdefault(family, {}), (sample, tuple(labels.items()))
                if typ != "gauge":
                    found[key] = found.get(key, 0.0) + value
                elif set_at_s > newest.get(key, 0.0):
                    found[key] = value
                newest[key] = max(newest.get(key, 0.0), set_at_s)
        old = {key for key, at_s in newest.items() if _is_old(key, at_s)}
        for family, metric in families.items():
            rows = {key: value for key, value in samples[family].items() if key not in old}
            for (sample, pairs), value in _buckets(rows) if metric.type == "histogram" else rows.items():
                metric.add_sample(sample, dict(pairs), value)
            yield metric


def _buckets(rows: dict[tuple[str, Labels], float]) -> Iterator[tuple[tuple[str, Labels], float]]:
    """A process counts each observation in the one bucket it falls into; Prometheus wants sums."""
    by_labels: dict[Labels, dict[float, float]] = {}
    for (sample, pairs), value in rows.items():
        if sample.endswith("_bucket"):
            bound = float(dict(pairs)["le"])
            by_labels.setdefault(tuple(one for one in pairs if one[0] != "le"), {})[bound] = value
            family = sample.removesuffix("_bucket")
        else:
            yield (sample, pairs), value
    for pairs, counts in by_labels.items():
        below = 0.0
        for bound in sorted(counts):
            below += counts[bound]
            yield (f"{family}_bucket", (*pairs, ("le", _shown(bound)))), below
        yield (f"{family}_count", pairs), below


def _is_old(key: tuple[str, Labels], set_at_s: float) -> bool:
    """Never a part of what is summed: a sum of fewer processes would be a counter that went back."""
    of_customer = any(label == "customer" and value != OTHER for label, value in key[1])
    return of_customer and 0.0 < set_at_s < time.time() - SHOWN_S


def _shown(bound: float) -> str:
    return str(floatToGoString(bound))  # type: ignore[no-untyped-call] # it has no annotations

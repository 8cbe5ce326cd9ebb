"""The figures of all customers as a text for the board, with names for some of the customers."""

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from db.accounting.measured import Storage
from operators import OTHER
from streams.settings import RetentionSettings
from tasks.measures import names
from tasks.measures.figures import CustomerFigures
from tasks.measures.names import Measure

TROUBLED_SHARE = 4
"""One name of so many is for customers in trouble, or far behind; the others are for those that cost most."""


@dataclass(kw_only=True)
class WholeFigures:
    """What is known of the whole installation. Times: Unix seconds. `beats`: seconds by process and name."""

    measured_at_s: float = 0.0
    books_checked_s: float = 0.0
    books_unchecked: int = 0
    processes: Mapping[str, int] = field(default_factory=dict)  # by queue
    wanted: Mapping[str, int] = field(default_factory=dict)
    beats: Mapping[tuple[str, str], float] = field(default_factory=dict)
    storage: Storage | None = None


@dataclass(frozen=True, kw_only=True)
class _Families:
    """Samples by metric, in the order in which they are made."""

    found: dict[str, Metric] = field(default_factory=dict)

    def add(self, measure: Measure, value: float, *labels: str) -> None:
        family = self.found.get(measure.name)
        if family is None:
            family = self.found[measure.name] = Metric(measure.name, measure.help, measure.kind)
        family.add_sample(measure.name, dict(zip(measure.labels, labels, strict=True)), value)


class _Collected(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


@cache
def idle() -> bytes:
    """What a dispatcher shows that does not measure."""
    families = _Families()
    families.add(names.MEASURING, 0)
    return _text(families)


def shown(
    figures: Collection[CustomerFigures],
    whole: WholeFigures,
    *,
    now_us: int,
    most_names: int,
    retention: RetentionSettings,
    daily_bytes: int,
) -> bytes:
    """All figures in Prometheus' text format. `daily_bytes`: the budget of quarantine without one's own."""
    families = _Families()
    families.add(names.MEASURING, 1)
    _add_whole(families, figures, whole)
    named = chosen(figures, most_names, now_us)
    rest = [one for one in figures if one.customer.slug not in named]
    for one in figures:
        if one.customer.slug in named:
            _add_own(families, one, daily_bytes)
    for measure, of, together in _figures(now_us, retention):
        for one in figures:
            if one.customer.slug in named and (value := of(one)) is not None:
                families.add(measure, value, one.customer.slug)
        others = [value for one in rest if (value := of(one)) is not None]
        if others:
            families.add(measure, together(others), OTHER)
    return _text(families)


def chosen(figures: Collection[CustomerFigures], most: int, now_us: int) -> set[str]:
    """The slugs that are named: those in trouble or furthest behind, and those that cost most."""
    if len(figures) <= most:
        return {one.customer.slug for one in figures}
    worst = heapq.nlargest(
        max(1, most // TROUBLED_SHARE), figures, key=lambda one: (one.troubled, one.oldest_owed_s(now_us))
    )
    taken = {one.customer.slug for one in worst if one.troubled or one.owed_batches}
    costly = heapq.nlargest(most, figures, key=lambda one: one.cost)
    for one in costly:
        if len(taken) >= most:
            break
        taken.add(one.customer.slug)
    return taken


def _figures(
    now_us: int, retention: RetentionSettings
) -> Iterable[tuple[Measure, Callable[[CustomerFigures], float | None], Callable[[Iterable[float]], float]]]:
    """Each metric by customer: its value, and what stands for many customers together."""
    yield names.OLDEST_OWED, lambda one: one.oldest_owed_s(now_us), max
    yield names.OWED_BATCHES, lambda one: one.owed_batches, sum
    yield names.OWED_BYTES, lambda one: round(one.owed_bytes), sum
    yield names.IN_FLIGHT, lambda one: one.open.windows, sum
    yield names.OWED_EXPIRY, lambda one: one.expires_in_s(now_us, retention), min
    yield names.STREAM_BATCHES, lambda one: one.stream_batches, sum
    yield names.STREAM_BYTES, lambda one: round(one.stream_bytes), sum
    yield names.BREAKER_OPEN, lambda one: one.customer.breaker_reason is not None, sum
    yield names.QUARANTINE_ROWS, lambda one: one.kept_rows, sum
    yield names.QUARANTINE_DAY_BYTES, lambda one: one.day.bytes, sum
    yield names.QUARANTINE_WITHHELD, lambda one: one.day.withheld, sum
    yield names.BOOKS_DIFFERENCES, lambda one: one.differences, sum


def _add_own(families: _Families, one: CustomerFigures, daily_bytes: int) -> None:
    """What has no sum over customers."""
    customer = one.customer
    families.add(names.CUSTOMER_STATE, 1, customer.slug, customer.state)
    families.add(names.QUARANTINE_BUDGET, customer.quarantine_daily_bytes or daily_bytes, customer.slug)
    if customer.events_per_second is not None:
        families.add(names.THROTTLE, customer.events_per_second, customer.slug)


def _add_whole(families: _Families, figures: Collection[CustomerFigures], whole: WholeFigures) -> None:
    families.add(names.MEASURED, whole.measured_at_s)
    families.add(names.BOOKS_CHECKED, whole.books_checked_s)
    families.add(names.BOOKS_UNCHECKED, whole.books_unchecked)
    for state, count in sorted(Counter(one.customer.state for one in figures).items()):
        families.add(names.CUSTOMERS, count, state)
    for measure, by_queue in (
        (names.WORKER_PROCESSES, whole.processes),
        (names.WORKERS_WANTED, whole.wanted),
    ):
        for queue, count in by_queue.items():
            families.add(measure, count, queue)
    for (process, name), age_s in whole.beats.items():
        families.add(names.PEER_BEAT_AGE, age_s, process, name)
    storage = whole.storage
    if storage is None:
        return
    for table, (count, ahead_s) in storage.partitions.items():
        families.add(names.PARTITIONS, count, table)
        families.add(names.PARTITIONS_AHEAD, ahead_s, table)
    for measure, size in ((names.DATABASE_BYTES, storage.bytes), (names.DATABASE_WAL, storage.wal_bytes)):
        if size is not None:
            families.add(measure, size)


def _text(families: _Families) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Collected(families.found.values()))
    return generate_latest(registry)

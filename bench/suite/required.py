"""What the figures must be, and whether they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

MB = 1e6
FLAT = 0.05  # of the rate: a lag that grows faster is not flat


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One row: `measured` is None when this run did not measure it."""

    figure: str
    measured: float | None
    required: float
    at_most: bool
    unit: str

    @property
    def holds(self) -> bool | None:
        if self.measured is None:
            return None
        return self.measured <= self.required if self.at_most else self.measured >= self.required


def verdicts(found: Mapping[str, Any]) -> list[Verdict]:
    """The rows, from the JSON of a run (`bench.run`)."""
    rows = found["rows"]

    def cpu(name: str) -> float | None:
        return rows[name]["cost"]["stack_cpu_s"] if name in rows else None

    def rate(name: str) -> float | None:
        return rows[name]["events_per_s"] if name in rows else None

    def latency_s(name: str) -> float | None:
        return rows[name]["latency"]["p999"] / 1e3 if name in rows else None

    reception, one = rows.get("reception", {}), cpu("at_50_percent")
    memory, neighbour = rows.get("peak_memory", {}), _victim(rows.get("neighbour"))
    slow = rows.get("slow_database")
    said = [
        _most("CPU s per million spans, 50 a batch, OTLP protobuf with gzip", cpu("sdk_50"), 12, "s"),
        _most("CPU against rotel's blackhole, 50 a batch", _over(cpu("sdk_50"), cpu("rotel_50")), 3, "×"),
        _most("CPU s per million spans, 512 a batch", cpu("sdk_512"), 6, "s"),
        _most("CPU against rotel's blackhole, 512 a batch", _over(cpu("sdk_512"), cpu("rotel_512")), 2, "×"),
        _most("CPU s per million spans, 10 a batch", cpu("sdk_10"), 50, "s"),
        _least("spans/s sustained to commit, 50 a batch", rate("sdk_50"), 160_000, "/s"),
        _least("spans/s sustained to commit, 512 a batch", rate("sdk_512"), 330_000, "/s"),
        _least("Arrow, 1,000 events a batch: events/s sustained", rate("arrow_sustained"), 750_000, "/s"),
        _most("Arrow, 1,000 events a batch: CPU s per million events", cpu("arrow_sustained"), 2.2, "s"),
        _most("Arrow, 100 events a batch: CPU s per million events", cpu("arrow_100"), 5, "s"),
        _most("OTLP against Arrow, equal batches and attributes, CPU per event",
              _over(cpu("otlp_1000"), cpu("arrow_1000")), 1.3, "×"),
        _most("NDJSON against Arrow, equal batches and attributes, CPU per event",
              _over(cpu("ndjson_1000"), cpu("arrow_1000")), 1.5, "×"),
        _most("receiver: CPU ms of a request with confirm, 50 spans", reception.get("receiver_cpu_ms"),
              0.22, "ms"),
        _least("requests/s acknowledged against an empty Flask handler under gthread",
               _over(reception.get("requests_per_s"), found["floors"]["empty"]["requests_per_s"]), 0.9, "×"),
        _most("p99.9 accepted → committed at 50 % of the sustained rate", latency_s("at_50_percent"),
              0.5, "s"),
        _most("p99.9 accepted → committed at 80 %", latency_s("at_80_percent"), 1, "s"),
    ]  # fmt: skip
    for count, times in ((100, 1.5), (1_000, 2.5)):
        name = f"customers_{count}"
        grows = lag_growth(rows[name]) if name in rows else None
        said += [
            _most(
                f"{count:,} customers at half the rate: cost against one", _over(cpu(name), one), times, "×"
            ),
            _most(
                f"{count:,} customers at half the rate: p99.9 accepted → committed", latency_s(name), 2, "s"
            ),
            _most(
                f"{count:,} customers at half the rate: growth of the lag, share of the rate", grows, FLAT, ""
            ),
        ]
    return [
        *said,
        _least("backlog drain against the sustained rate", _over(rate("drain"), rate("sdk_50")), 1.5, "×"),
        _most("noisy neighbour: the victim's p99.9 against quiet", neighbour and neighbour[0], 1.5, "×"),
        _most("noisy neighbour: the victim's p99.9", neighbour and neighbour[1], 0.5, "s"),
        _most("slow database, 50 ms an answer: p99.9 accepted → committed",
              slow and slow["slow"]["lag_ms"]["p999"] / 1e3, 5, "s"),
        _most("peak memory of a receiver process", _megabytes(memory, "receiver worker"), 150, "MB"),
        _most("peak memory of the dispatcher", _megabytes(memory, "dispatcher"), 200, "MB"),
        _most("peak memory of a prefork child", _megabytes(memory, "prefork child"), 500, "MB"),
    ]  # fmt: skip


def lag_growth(run: Mapping[str, Any]) -> float:
    """How fast the lag of a run at a rate grows, as a share of that rate; 0 when it does not."""
    lag: Sequence[tuple[float, int]] = run["lag_events"]
    if len(lag) < 2:
        return 0.0
    seconds, events = (np.array(values, dtype=float) for values in zip(*lag, strict=True))
    slope = float(np.polyfit(seconds, events, 1)[0])
    asked: float = run["asked_events_per_s"]
    return max(0.0, slope / asked)


def _victim(neighbour: Mapping[str, Any] | None) -> tuple[float, float] | None:
    """P99.9 beside against quiet, and beside in s."""
    if not neighbour:
        return None
    quiet, beside = (
        neighbour["victim"][when]["way"]["accepted_to_committed"]["p999"] for when in ("quiet", "beside")
    )
    return beside / quiet, beside / 1e3


def _least(figure: str, measured: float | None, required: float, unit: str) -> Verdict:
    return Verdict(figure=figure, measured=measured, required=required, at_most=False, unit=unit)


def _most(figure: str, measured: float | None, required: float, unit: str) -> Verdict:
    return Verdict(figure=figure, measured=measured, required=required, at_most=True, unit=unit)


def _megabytes(memory: Mapping[str, int], name: str) -> float | None:
    return memory[name] / MB if name in memory else None


def _over(value: float | None, other: float | None) -> float | None:
    return value / other if value and other else None

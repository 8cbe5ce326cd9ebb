"""What the figures must be, and whether they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

MB = 1e6


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
    ours, floors, peers = found["ours"], found["floors"], found["peers"]
    sustained = ours["sustained"]
    cpu = {run["batch"]: run["cost"]["stack_cpu_s"] for run in ours["sides"]}
    arrow = _named(cpu, "arrow+zstd, 1000")
    memory = ours["peak_memory"]
    ten = ours["customers"].get("10")
    drain = ours["drain"]["events_per_s"]
    one = ours["at_50_percent"]["cost"]["stack_cpu_s"]
    return [
        _least(
            "sustained events/s against the obvious Celery design",
            _ratio(sustained, peers, "delay_per_event"),
            25,
            "×",
        ),
        _least("… against bulk insert and broker confirm", _ratio(sustained, peers, "bulk_confirm"), 8, "×"),
        _most("CPU seconds per million events, whole stack, Arrow", sustained["cost"]["stack_cpu_s"], 5, "s"),
        _least(
            "acknowledged requests/s with confirm against the empty handler",
            ours["reception"]["requests_per_s"] / floors["empty"]["requests_per_s"],
            0.6,
            "×",
        ),
        _most(
            "p99.9 accepted → committed at 50 % of the sustained rate",
            ours["at_50_percent"]["latency"]["p999"],
            1000,
            "ms",
        ),
        _most(
            "cost per event at 10 customers against 1, at equal total rate",
            ten and ten["paced"]["cost"]["stack_cpu_s"] / one,
            1.2,
            "×",
        ),
        _least("backlog drain against the sustained rate", drain / sustained["events_per_s"], 1.5, "×"),
        _most("peak memory of a receiver worker", memory["receiver worker"] / MB, 150, "MB"),
        _most("peak memory of the dispatcher", memory["dispatcher"] / MB, 200, "MB"),
        _most("peak memory of a prefork child", memory["prefork child"] / MB, 500, "MB"),
        _most("OTLP against Arrow, CPU per event", _over(_named(cpu, "otlp+gzip, 1000"), arrow), 4, "×"),
        _most("NDJSON against Arrow, CPU per event", _over(_named(cpu, "ndjson+gzip, 1000"), arrow), 3, "×"),
    ]


def _least(figure: str, measured: float | None, required: float, unit: str) -> Verdict:
    return Verdict(figure=figure, measured=measured, required=required, at_most=False, unit=unit)


def _most(figure: str, measured: float | None, required: float, unit: str) -> Verdict:
    return Verdict(figure=figure, measured=measured, required=required, at_most=True, unit=unit)


def _ratio(sustained: Mapping[str, Any], peers: Mapping[str, Any], name: str) -> float | None:
    peer = peers.get(name)
    return sustained["events_per_s"] / peer["events_per_s"] if peer else None


def _named(cpu: Mapping[str, float], start: str) -> float | None:
    return next((value for name, value in cpu.items() if name.startswith(start)), None)


def _over(value: float | None, other: float | None) -> float | None:
    return value / other if value and other else None

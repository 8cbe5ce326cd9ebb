"""Figures of benchmarks that the docs state are those of the JSON in `bench/results/`.

Each entry is a piece of a page, in which `{}` stands for a figure, and where these figures are in the JSON.
Checked are the figures by which readers judge: what is promised, and the tables' main columns.
"""

import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]

Figures = Callable[[Any], Sequence[float]]
ROLES = ("receiver", "broker", "dispatcher", "workers", "database")


def of(name: str) -> Figures:
    """Events/s, CPU seconds by role, and the stack's, of a run of ours."""
    return lambda run: _row(run["ours"][name])


def of_crowd(customers: str, pace: str) -> Figures:
    return lambda run: _row(run["ours"]["customers"][customers][pace])


def _row(one: Any) -> list[float]:
    return [one["events_per_s"], *(one["cost"]["cpu_s"][role] for role in ROLES), one["cost"]["stack_cpu_s"]]


def percentiles(*path: str, divisor: float = 1.0, names: Sequence[str] = ("p50", "p99", "p999")) -> Figures:
    def found(run: Any) -> list[float]:
        for step in path:
            run = run[step]
        return [run[name] / divisor for name in names]

    return found


def of_broken_streams(name: str) -> Figures:
    """That percentile without broken streams, beside them, and with a dispatcher that never saw them."""
    return lambda run: [
        run["accepted_to_committed_ms"][when][name] for when in ("quiet", "beside", "new dispatcher")
    ]


def _beside_quiet(quiet: float, beside: float, new: float) -> list[float]:
    """Each with how many times the quiet one it is."""
    return [quiet, beside, beside / quiet, new, new / quiet]


def _rise(quiet: float, beside: float) -> list[float]:
    """How many times the quiet one the other is, and both."""
    return [beside / quiet, quiet, beside]


def verdicts(*places: int) -> Figures:
    return lambda run: [run["verdicts"][place]["measured"] for place in places]


RUN = " | ".join(["{:,.0f}", *["{:.2f}"] * 6])
SAID: dict[str, list[tuple[str, str, Figures]]] = {
    "README.md": [
        ("latest", "{:.0f},000 events/s", lambda run: [run["ours"]["sustained"]["events_per_s"] // 1000]),
        ("latest", "They cost {:.1f} CPU seconds per million events", verdicts(2)),
        ("latest", "(p99.9 {:.2f} s)", lambda run: [run["verdicts"][4]["measured"] / 1000]),
        (
            "latest",
            "p99.9 was {:.1f} s",
            lambda run: [run["ours"]["at_80_percent"]["latency"]["p999"] / 1000],
        ),
        (
            "latest",
            "{:.1f} CPU seconds per million at 100 events per batch",
            lambda run: [run["ours"]["sides"][3]["cost"]["stack_cpu_s"]],
        ),
        (
            "neighbour",
            "a customer that offered {:.0f} times what the machine can process",
            lambda run: [run["offered_times"]],
        ),
        (
            "neighbour",
            "let through {:.1f} times what the machine can process",
            lambda run: [run["neighbour"]["accepted_events_per_s"] / run["machine_takes_events_per_s"]],
        ),
        (
            "neighbour",
            "rose {:.2f} times, from {:.2f} s to {:.2f} s",
            lambda run: _rise(
                *(
                    run["victim"][when]["way"]["accepted_to_committed"]["p999"] / 1000
                    for when in ("quiet", "beside")
                )
            ),
        ),
    ],
    "docs/benchmarks.md": [
        ("latest", "the obvious Celery design | {:.0f} × |", verdicts(0)),
        ("latest", "bulk insert and broker confirm | {:.0f} × |", verdicts(1)),
        ("latest", "the whole stack, Arrow | {:.2f} |", verdicts(2)),
        ("latest", "against the empty handler | {:.2f} |", verdicts(3)),
        ("latest", "at equal total rate | {:.2f} × |", verdicts(5)),
        ("latest", "against the sustained rate | {:.2f} × |", verdicts(6)),
        ("latest", "prefork child | {:.0f}, {:.0f}, {:.0f} MB |", verdicts(7, 8, 9)),
        ("latest", "CPU per event | {:.1f} × and {:.1f} × |", verdicts(10, 11)),
        (
            "latest",
            f"| **sustained, PostgreSQL** | **{{:,.0f}}** {'| {:.2f} ' * 5}| **{{:.2f}}** |",
            of("sustained"),
        ),
        ("latest", f"| at 50 % | {RUN} |", of("at_50_percent")),
        ("latest", f"| at 80 % | {RUN} |", of("at_80_percent")),
        ("latest", f"| 1 worker process in place of 2 | {RUN} |", of("one_worker")),
        ("latest", f"| 10 customers | {RUN} |", of_crowd("10", "full")),
        ("latest", f"| 10 customers at 50 % | {RUN} |", of_crowd("10", "paced")),
        ("latest", f"| 100 customers | {RUN} |", of_crowd("100", "full")),
        ("latest", f"| 100 customers at 50 % (behind) | {RUN} |", of_crowd("100", "paced")),
        (
            "latest",
            "at 50 %: p50 {:.0f} ms, p99 {:.0f} ms, p99.9 {:.0f} ms, max {:.0f} ms",
            percentiles("ours", "at_50_percent", "latency", names=("p50", "p99", "p999", "max")),
        ),
        ("latest", "The sum of the floors is {:.2f} CPU", lambda run: [run["floors"]["sum_cpu_s"]]),
    ],
    "docs/floods.md": [
        (
            "many",
            "p50 and p99.9 | {:.1f} s, {:.1f} s |",
            percentiles("lag_ms", divisor=1000, names=("p50", "p999")),
        ),
        (
            "slow-database",
            "| {:.2f} s, {:.2f} s |",
            percentiles("quiet", "lag_ms", divisor=1000, names=("p50", "p999")),
        ),
        (
            "slow-database",
            "| {:.1f} s, {:.1f} s |",
            percentiles("slow", "lag_ms", divisor=1000, names=("p50", "p999")),
        ),
        (
            "neighbour",
            "from accepted to committed | {:.0f}, {:.0f}, {:.0f} ms |",
            percentiles("victim", "quiet", "way", "accepted_to_committed"),
        ),
        (
            "neighbour",
            "| {:.0f}, {:.0f}, {:.0f} ms | p99.9 under 1 s",
            percentiles("victim", "beside", "way", "accepted_to_committed"),
        ),
        (
            "neighbour",
            "{:.0f} times the {:,.0f} events a second",
            lambda run: [run["offered_times"], run["machine_takes_events_per_s"]],
        ),
        (
            "crowd",
            "p50, p99 | {:.1f} ms, {:.1f} ms |",
            percentiles("nginx", "quiet_ack_ms", names=("p50", "p99")),
        ),
        (
            "crowd",
            "| {:.1f} ms, {:.1f} ms | p99",
            percentiles("nginx", "beside_ack_ms", names=("p50", "p99")),
        ),
        ("crowd", "0; {:,.0f} | |", lambda run: [run["receiver"]["still_open"]]),
        ("verify", "It checked {:,.0f} batches a second", lambda run: [run["batches_per_s"]]),
        (
            "slow-bodies",
            "p50, p99, p99.9 | {:.0f}, {:.0f}, {:.0f} ms |",
            percentiles("quiet_ack_ms"),
        ),
        ("slow-bodies", "| {:.0f}, {:.0f}, {:,.0f} ms |", percentiles("beside_ack_ms")),
        (
            "broken-streams",
            "at most) | {:.0f} ms | {:.0f} ms: {:.2f} times, **kept** | {:.0f} ms: {:.2f} times, **kept** |",
            lambda run: _beside_quiet(*of_broken_streams("p50")(run)),
        ),
        ("broken-streams", "| p99 | {:.0f} ms | {:.0f} ms | {:.0f} ms |", of_broken_streams("p99")),
        ("broken-streams", "| p99.9 | {:.0f} ms | {:.0f} ms | {:.0f} ms |", of_broken_streams("p999")),
    ],
}


@cache
def result(name: str) -> Any:
    return json.loads((ROOT / "bench" / "results" / f"{name}.json").read_text())


@pytest.mark.parametrize(
    ("page", "name", "text", "figures"),
    [(page, *said) for page, all_said in SAID.items() for said in all_said],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_figure_in_a_page_is_that_of_the_benchmarks_result(
    page: str, name: str, text: str, figures: Figures
) -> None:
    words = re.sub(r"\s+", " ", (ROOT / page).read_text())
    assert text.format(*figures(result(name))) in words, f"{page} differs from bench/results/{name}.json"

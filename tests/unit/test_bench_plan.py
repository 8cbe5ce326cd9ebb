"""The paper plan and the verdicts, from figures made by hand."""

from typing import Any

import pytest

from bench.suite import plan
from bench.suite.required import Verdict, verdicts


def run(
    cpu: dict[str, float], *, batch: str = "arrow+zstd, 1000 events a batch", rate: float = 1.0
) -> dict[str, Any]:
    return {
        "batch": batch,
        "batch_events": int(batch.split(", ")[1].split()[0]),
        "events_per_s": rate,
        "body_bytes_per_event": 40.0,
        "latency": {"p999": 900.0},
        "cost": {
            "cpu_s": cpu,
            "stack_cpu_s": sum(cpu.values()),
            "written_bytes_per_event": {"broker": 100.0, "database": 50.0},
        },
    }


def found() -> dict[str, Any]:
    cpu = dict.fromkeys(plan.ROLES, 1.0)
    sides = [
        # a = 2, b = 1000: 3 s at 1,000 events a batch, 12 s at 100.
        run(dict.fromkeys(plan.ROLES, 3.0)),
        run(dict.fromkeys(plan.ROLES, 12.0), batch="arrow+zstd, 100 events a batch"),
        run(dict.fromkeys(plan.ROLES, 6.0), batch="otlp+gzip, 1000 events a batch"),
    ]
    return {
        "at": "2026-01-15T00:00:00Z",
        "machine": {"cpu": "a processor"},
        "floors": {"empty": {"requests_per_s": 1_000.0}},
        "peers": {"delay_per_event": {"events_per_s": 4.0}, "bulk_confirm": {"events_per_s": 10.0}},
        "ours": {
            "sustained": run(cpu, rate=100.0),
            "at_50_percent": run(cpu),
            "drain": {"events_per_s": 160.0},
            "reception": {"requests_per_s": 500.0},
            "customers": {},
            "peak_memory": {"receiver worker": 100e6, "dispatcher": 300e6, "prefork child": 100e6},
            "sides": sides,
        },
    }


def by_figure() -> dict[str, Verdict]:
    return {one.figure: one for one in verdicts(found())}


def test_costs_are_split_into_events_and_batches() -> None:
    cost = plan.costs(found())["workers"]
    assert cost.event == pytest.approx(2.0)
    assert cost.batch == pytest.approx(1_000.0)
    assert cost.cores(1_000) == pytest.approx(plan.EVENTS_PER_S / 1e6 * 3)


def test_one_batch_size_is_too_few_for_a_plan() -> None:
    alone = found()
    del alone["ours"]["sides"][1]
    with pytest.raises(ValueError, match="two batch sizes"):
        plan.lines(alone)


def test_the_plan_names_every_role() -> None:
    text = "\n".join(plan.lines(found()))
    assert all(f"| {role} |" in text for role in plan.ROLES)


def test_a_figure_on_its_bound_holds() -> None:
    figures = by_figure()
    assert figures["sustained events/s against the obvious Celery design"].holds is True
    assert figures["… against bulk insert and broker confirm"].measured == 10


def test_a_figure_beyond_its_bound_does_not_hold() -> None:
    figures = by_figure()
    assert figures["acknowledged requests/s with confirm against the empty handler"].holds is False
    assert figures["peak memory of the dispatcher"].holds is False


def test_what_was_not_measured_has_no_verdict() -> None:
    assert by_figure()["cost per event at 10 customers against 1, at equal total rate"].holds is None
    assert by_figure()["NDJSON against Arrow, CPU per event"].measured is None

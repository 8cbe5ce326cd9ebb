"""The paper plan, the verdicts and the page, from figures made by hand."""

from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from bench.suite import page, plan, plots, table
from bench.suite.markdown import in_words, runs
from bench.suite.required import Verdict, verdicts

LATENCY = {"batches": 10, "p50": 100.0, "p99": 300.0, "p999": 450.0, "max": 460.0}


def run(cpu: float, *, batch: str = "otlp+gzip, 50", rate: float = 100.0, **more: Any) -> dict[str, Any]:
    """Every role uses `cpu` s per million events."""
    name = f"{batch} events a batch, 24 attributes an event"
    return {
        "batch": name,
        "batch_events": int(batch.split(", ")[1]),
        "events_per_s": rate,
        "body_bytes_per_event": 40.0,
        "cost": {
            "cpu_s": dict.fromkeys(plan.ROLES, cpu),
            "stack_cpu_s": 5 * cpu,
            "written_bytes_per_event": {"broker": 100.0, "database": 50.0},
        },
        **more,
    }


def found() -> dict[str, Any]:
    level, rising = [(at / 10, 50) for at in range(20)], [(at / 10, at * 10) for at in range(20)]
    rows = {
        # a = 1, b = 100: 3 s at 50 spans a batch, 11 s at 10.
        "sdk_50": run(3.0, rate=1_000.0, lag_events=level),
        "sdk_10": run(11.0, batch="otlp+gzip, 10"),
        "rotel_50": run(1.0, batch="otlp+gzip, 50"),
        "at_50_percent": run(3.0, latency=LATENCY, asked_events_per_s=100.0, lag_events=level),
        "at_80_percent": run(3.0, rate=60.0, latency=LATENCY, asked_events_per_s=100.0, lag_events=level),
        "customers_100": run(3.0, latency=LATENCY, asked_events_per_s=1_000.0, lag_events=rising),
        "drain": run(2.0, rate=1_500.0),
        "reception": {**run(1.0), "requests_per_s": 500.0, "receiver_cpu_ms": 0.3, "ack_ms": LATENCY},
        "peak_memory": {"receiver worker": 100e6, "dispatcher": 300e6, "prefork child": 100e6},
    }
    floors = {
        "batch": rows["sdk_50"]["batch"],
        "empty": {"receiver_cpu_ms": 0.2, "requests_per_s": 1_000.0},
        "decode": {
            rows["sdk_50"]["batch"]: 2.0,
            "arrow+zstd, 1000 events a batch, 2 attributes an event": 1.0,
        },
        **dict.fromkeys(("publish_client", "publish_broker", "group", "copy_client", "copy_server"), 0.5),
        "pipeline": 1.0,
        "sum_cpu_s": 8.5,
    }
    made = {
        "at": "2026-01-15T00:00:00Z",
        "quick": False,
        "seconds": 500.0,
        "machine": {"cpu": "A(R) processor", "cores": 2, "memory_bytes": 2**33, "load_before": 0.1},
        "versions": {"postgresql": "15.1", "rabbitmq": "3.10.8"},
        "workload": {"batch": rows["sdk_50"]["batch"]},
        "floors": floors,
        "rows": rows,
        "failed": {"sdk_512": "NotCounted: the books do not balance"},
    }
    said = [
        {
            "figure": one.figure, "measured": one.measured, "required": one.required,
            "at_most": one.at_most, "unit": one.unit, "holds": one.holds,
        }
        for one in verdicts(made)
    ]  # fmt: skip
    return {**made, "verdicts": said}


def by_figure() -> dict[str, Verdict]:
    return {one.figure: one for one in verdicts(found())}


def test_costs_are_split_into_events_and_batches() -> None:
    cost = plan.costs(found())["workers"]
    assert cost.event == pytest.approx(1.0)
    assert cost.batch == pytest.approx(100.0)
    assert cost.cores(50) == pytest.approx(plan.EVENTS_PER_S / 1e6 * 3)


def test_one_batch_size_is_too_few_for_a_plan() -> None:
    alone = found()
    del alone["rows"]["sdk_10"]
    with pytest.raises(ValueError, match="two batch sizes"):
        plan.lines(alone)
    others = found()
    others["rows"]["sdk_512"] = run(2.0, batch="otlp+gzip, 512")
    del others["rows"]["sdk_50"]
    with pytest.raises(ValueError, match="one of them 50 spans"):
        plan.lines(others)


def test_the_plan_names_every_role() -> None:
    text = "\n".join(plan.lines(found()))
    assert all(f"| {role} |" in text for role in plan.ROLES)


def test_a_figure_on_its_bound_holds() -> None:
    figures = by_figure()
    assert figures["backlog drain against the sustained rate"].holds is True
    assert figures["backlog drain against the sustained rate"].measured == 1.5
    assert figures["p99.9 accepted → committed at 50 % of the sustained rate"].measured == 0.45


def test_a_figure_beyond_its_bound_does_not_hold() -> None:
    figures = by_figure()
    assert figures["requests/s acknowledged against an empty Flask handler under gthread"].holds is False
    assert figures["peak memory of the dispatcher"].holds is False
    assert figures[
        "100 customers at half the rate: growth of the lag, share of the rate"
    ].measured == pytest.approx(0.1)
    assert figures["100 customers at half the rate: growth of the lag, share of the rate"].holds is False


def test_what_was_not_measured_has_no_verdict() -> None:
    figures = by_figure()
    assert figures["CPU s per million spans, 512 a batch"].holds is None
    assert figures["noisy neighbour: the victim's p99.9 against quiet"].measured is None


def test_the_pages_say_what_was_measured_and_what_fails() -> None:
    pages = page.pages(found())
    assert (
        "| CPU s per million spans, 50 a batch, OTLP protobuf with gzip | 15.00 s | ≤ 12 s | **no** |"
        in (pages[page.PAGE])
    )
    assert "* `sdk_512` does not count: NotCounted: the books do not balance" in pages[page.PAGE]
    assert "| at 80 % of sustained (behind) |" in pages[page.PAGE]
    assert "committed 1,000 spans/s as OpenTelemetry SDKs post them" in pages[page.README]
    again = page.replaced(pages[page.PAGE], page.HEADINGS[0], page.shown(found()))
    assert again == pages[page.PAGE]


def test_a_page_without_the_section_is_named() -> None:
    with pytest.raises(ValueError, match="has no ## That"):
        page.replaced("# A page\n\n## This\n", "## That", [])


def test_the_tables_and_the_plots_have_every_row(tmp_path: Path) -> None:
    out = StringIO()
    table.show(found(), Console(file=out, width=200))
    assert "rotel" in out.getvalue()
    assert len(runs(found())) == 8
    plots.draw(found(), tmp_path)
    drawn = {path.name for path in tmp_path.iterdir()}
    assert drawn == {"rates.svg", "cost.svg", "lag.svg", "latency.svg"}


def test_thousands_are_marked_in_the_name_of_a_batch() -> None:
    assert in_words("arrow+zstd, 1000 events a batch, 2 attributes an event") == (
        "arrow+zstd, 1,000 events a batch, 2 attributes an event"
    )

"""Writes the figures of a run into the pages that state them: `python -m bench.suite.page`.

Sections of docs/benchmarks.md, and one row of README.md, are made of bench/results/latest.json alone. A test
compares them with it. All else on the pages is written by hand.
"""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.places import ROOT
from bench.suite import plan
from bench.suite.markdown import (
    ROLES,
    floor_cells,
    in_words,
    is_behind,
    latency_cells,
    run_cells,
    runs,
    table,
    verdict_cells,
)

README, PAGE = "README.md", "docs/benchmarks.md"
PROMISE = "| **It is fast and cheap.**"
HEADINGS = (
    "## What it shows",
    "### What falls short",
    "### Rates and costs",
    "### Latency",
    "### Floors, measured",
    "### The plan",
)


def pages(found: Mapping[str, Any]) -> dict[str, str]:
    """The text of each page with the figures of a run. Raises ValueError when a page lacks a section."""
    page, readme = ((ROOT / name).read_text() for name in (PAGE, README))
    makers = (shown, _short, _rates, _latencies, _floors, _plan)
    for heading, lines in zip(HEADINGS, (make(found) for make in makers), strict=True):
        page = replaced(page, heading, lines)
    row = re.compile(rf"^{re.escape(PROMISE)}.*$", re.MULTILINE)
    if not row.search(readme):
        raise ValueError(f"{README} has no row {PROMISE}")
    return {PAGE: page, README: row.sub(lambda _: promise(found), readme, count=1)}


def replaced(text: str, heading: str, lines: Sequence[str]) -> str:
    """The page with these lines between a heading and the next one."""
    before, found, rest = text.partition(f"\n{heading}\n")
    if not found:
        raise ValueError(f"{PAGE} has no {heading}")
    following = re.search(r"^#+ ", rest, re.MULTILINE)
    after = rest[following.start() :] if following else ""
    return "\n".join([f"{before}{found}", *lines, "", after])


def promise(found: Mapping[str, Any]) -> str:
    """The row of README.md that says how fast it is, and what it costs."""
    rows = found["rows"]
    beside = (
        f"{PROMISE} On {found['machine']['cores']} cores, shared with the broker, the database and the load"
        " generator, Sluice received, processed and committed"
    )
    arrow = "events/s with Arrow batches of 1,000 events and 2 attributes per event"
    said = [("arrow_sustained", arrow, "events")]
    if "sdk_50" in rows:
        how = "OTLP protobuf with gzip, 50 spans per batch, 24 attributes per span"
        said.insert(0, ("sdk_50", f"spans/s as OpenTelemetry SDKs post them ({how})", "spans"))
    measured = [
        f" {rows[key]['events_per_s'] // 1000:,.0f},000 {words}, at {rows[key]['cost']['stack_cpu_s']:.1f}"
        f" CPU seconds per million {what}"
        for key, words, what in said
        if key in rows
    ]
    limits = [
        f"At {share} % of the sustained rate, 99.9 % of the spans were committed within"
        f" {rows[key]['latency']['p999'] / 1e3:.2f} s of their acknowledgement."
        for share, key in ((50, "at_50_percent"), (80, "at_80_percent"))
        if key in rows
    ]
    limits += [
        f"{words} cost more: {rows[key]['cost']['stack_cpu_s']:.1f} CPU seconds per million."
        for key, words in (
            ("sdk_10", "Batches of 10 spans"),
            ("arrow_100", "Arrow batches of 100 events"),
        )
        if key in rows
    ]
    cost = "the cost includes broker and database ([benchmarks](docs/benchmarks.md))"
    return f"{beside}{' and'.join(measured)}; {cost}. | {' '.join(limits)} |"


def shown(found: Mapping[str, Any]) -> list[str]:
    """The machine, and what was required of it."""
    machine, versions = found["machine"], found["versions"]
    cpu = re.sub(r"\((R|TM)\)", "", machine["cpu"])
    short = " **It was a short run (`QUICK=1`):** its figures are rough." if found["quick"] else ""
    where = (
        f"{machine['cores']} cores ({' '.join(cpu.split())}) and {machine['memory_bytes'] / 2**30:.1f} GiB"
    )
    servers = f"PostgreSQL {versions['postgresql'].partition('.')[0]} and RabbitMQ {versions['rabbitmq']}"
    return [
        f"The run took {found['seconds']:.0f} s on {where}, with {servers}. The load average before it was"
        f" {machine['load_before']:.1f}.{short}",
        "All figures of the run and the description of the machine are in",
        "[bench/results/latest.json](../bench/results/latest.json).",
        "",
        *table(("figure", "measured", "required", "met"), list(map(verdict_cells, found["verdicts"]))),
    ]


def _short(found: Mapping[str, Any]) -> list[str]:
    short = [verdict_cells(one) for one in found["verdicts"] if one["holds"] is False]
    missing = sum(one["holds"] is None for one in found["verdicts"])
    failed = [f"* `{name}` does not count: {why}" for name, why in found["failed"].items()]
    lines = [f"* {figure}: {measured}, required {required}" for figure, measured, required, _ in short]
    lines += [f"* {missing} figures of the table were not measured in this run."] if missing else []
    return [*lines, *failed] or ["Nothing does."]


def _rates(found: Mapping[str, Any]) -> list[str]:
    head = ("", "batch", "events/s", *ROLES, "stack")
    cells = [run_cells(name, run) for name, run in runs(found)]
    behind = any(is_behind(run) for _, run in runs(found))
    rows = found["rows"]
    said = [
        "The columns after events/s are CPU seconds per million events, by role. *Stack* is their sum.",
        "",
        "![rates](plots/rates.svg)",
        "",
        *table(head, cells, left=2),
        "",
    ]
    if behind:
        said += ["*Behind*: less than 90 % of the rate that was asked for was committed.", ""]
    if "reception" in rows:
        empty, reception = found["floors"]["empty"], rows["reception"]
        took = f"{reception['receiver_cpu_ms']:.3f} ms of the receiver's CPU time"
        answered = f"{empty['receiver_cpu_ms']:.3f} ms and answered {empty['requests_per_s']:,.0f}"
        said += [
            f"* A request with a confirm took {took}, {reception['requests_per_s']:,.0f} were acknowledged"
            f" in a second. An empty Flask handler under gthread took {answered}.",
        ]
    if "sdk_50" in rows:
        run = rows["sdk_50"]
        written = run["cost"]["written_bytes_per_event"]
        said += [
            f"* A span is posted in {run['body_bytes_per_event']:.0f} bytes. For it, the broker writes"
            f" {written['broker']:.0f} bytes and the database {written['database']:.0f}.",
        ]
    return [*said, *([""] if said[-1] else []), "![cost](plots/cost.svg)"]


def _latencies(found: Mapping[str, Any]) -> list[str]:
    cells = [latency_cells(name, run) for name, run in runs(found) if run.get("latency")]
    if not cells:
        return ["Not measured in this run."]
    return [
        f"From accepted to committed, ms. Batches: {in_words(found['workload']['batch'])}.",
        "",
        *table(("", "events/s", "p50", "p99", "p99.9", "max"), cells),
        "",
        "![latency](plots/latency.svg)",
        "",
        "![lag](plots/lag.svg)",
    ]


def _floors(found: Mapping[str, Any]) -> list[str]:
    return table(("part, alone", "CPU s per million events"), floor_cells(found))


def _plan(found: Mapping[str, Any]) -> list[str]:
    try:
        return plan.lines(found)
    except ValueError as problem:
        return [f"This run gives no plan: {problem}."]


def main() -> None:
    found = json.loads((ROOT / "bench" / "results" / "latest.json").read_text())
    for name, text in pages(found).items():
        path = Path(ROOT / name)
        print(f"{name}: {'unchanged' if path.read_text() == text else 'written'}")
        path.write_text(text)


if __name__ == "__main__":
    main()

"""The tables that `make bench` prints."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.suite.markdown import (
    ROLES,
    Cells,
    floor_cells,
    latency_cells,
    run_cells,
    runs,
    verdict_cells,
)


def show(found: Mapping[str, Any], console: Console | None = None) -> None:
    """Rates and costs by role, latencies, floors, and the verdicts."""
    console = console or Console(width=190)
    named = runs(found)
    timed = [latency_cells(name, run) for name, run in named if run.get("latency")]
    for title, head, rows in (
        (
            "events/s, and CPU seconds per million events by role",
            ("", "batch", "events/s", *ROLES, "stack"),
            [run_cells(*one) for one in named],
        ),
        ("ms, accepted → committed", ("", "events/s", "p50", "p99", "p99.9", "max"), timed),
        ("floors: CPU seconds per million events, each alone", ("part", "s"), floor_cells(found)),
        (
            "what it must show",
            ("figure", "measured", "required", "holds"),
            list(map(verdict_cells, found["verdicts"])),
        ),
    ):
        console.print(_table(title, head, rows))


def _table(title: str, head: Sequence[str], rows: Sequence[Cells]) -> Table:
    table = Table(title=title)
    for at, name in enumerate(head):
        table.add_column(name, justify="left" if at == 0 or name == "batch" else "right")
    for row in rows:
        table.add_row(*(cell.replace("**", "").replace("`", "") for cell in row))
    return table

"""The table that `make bench` prints."""

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table

_ROLES = ("receiver", "broker", "dispatcher", "workers", "database", "load generator")
_KEPT_UP = 0.9  # of the rate asked for: the windows' boundaries blur it


def show(found: Mapping[str, Any], console: Console | None = None) -> None:
    """Rates with ratios, costs by role, latencies, floors, and the verdicts."""
    console = console or Console(width=170)
    for table in (_rates(found), _latencies(found), _small(found), _floors(found), _verdicts(found)):
        console.print(table)


def _rates(found: Mapping[str, Any]) -> Table:
    """Events a second and CPU seconds per million events, by role; ratios to the obvious Celery design."""
    table = Table(title="events/s, and CPU seconds per million events by role")
    for name in ("", "batch", "events/s", "×", *_ROLES, "stack"):
        table.add_column(name, justify="left" if name in ("", "batch") else "right", no_wrap=True)
    first = found["peers"]["delay_per_event"]["events_per_s"]
    for name, run in rows(found):
        cpu = run["cost"]["cpu_s"]
        asked = run.get("asked_events_per_s")
        behind = " (behind)" if asked and run["events_per_s"] < _KEPT_UP * asked else ""
        table.add_row(
            name + behind,
            run.get("batch", ""),
            f"{run['events_per_s']:,.0f}",
            f"{run['events_per_s'] / first:.1f}",
            *(f"{cpu[role]:.2f}" if role in cpu else "" for role in _ROLES),
            f"{run['cost']['stack_cpu_s']:.2f}",
        )
    return table


def rows(found: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Every measured rate with its name, peers first."""
    ours, peers = found["ours"], found["peers"]
    named = [(f"peer {name}", run) for name, run in peers.items()]
    named += [("Sluice, sustained", ours["sustained"])]
    named += [("Sluice on SQLite", ours["sqlite"])] if "sqlite" in ours else []
    named += [("reception alone", ours["reception"]), ("backlog drained", ours["drain"])]
    named += [("paced at 50 %", ours["at_50_percent"]), ("paced at 80 %", ours["at_80_percent"])]
    named += [("1 worker process", ours["one_worker"])] if "one_worker" in ours else []
    for count, runs in ours["customers"].items():
        named += [(f"{count} customers", runs["full"])] if "full" in runs else []
        named += [(f"{count} customers at 50 %", runs["paced"])]
    return named + [("as fast as it goes", run) for run in ours["sides"]]


def _latencies(found: Mapping[str, Any]) -> Table:
    table = Table(title="milliseconds")
    for name in ("", "batches", "p50", "p99", "p99.9", "max"):
        table.add_column(name, justify="left" if not name else "right")
    ours = found["ours"]
    for name, run in (("50 %", ours["at_50_percent"]), ("80 %", ours["at_80_percent"])):
        latency = run["latency"]
        numbers = [latency[one] for one in ("p50", "p99", "p999", "max")]
        table.add_row(
            f"accepted → committed at {name} ({run['events_per_s']:,.0f} events/s)",
            f"{latency['batches']:,}",
            *(f"{number:,.0f}" for number in numbers),
        )
    for name, ack in (
        ("acknowledged, reception alone", ours["reception"]["ack_ms"]),
        ("acknowledged, empty handler", found["floors"]["empty"]["ack_ms"]),
        ("acknowledged, at 50 %", ours["at_50_percent"]["ack_ms"]),
    ):
        table.add_row(name, "", *(f"{ack[one]:,.1f}" for one in ("p50", "p99", "p999", "max")))
    return table


def _small(found: Mapping[str, Any]) -> Table:
    """What does not grow with the events, and what is written for each."""
    ours = found["ours"]
    table = Table(title="cores in use while nothing is posted, bytes written an event, peak memory")
    for name in ("", "idle cores", "bytes written an event"):
        table.add_column(name, justify="left" if not name else "right")
    written = ours["sustained"]["cost"]["written_bytes_per_event"]
    for role, cores in ours["idle_cores"].items():
        table.add_row(role, f"{cores:.3f}", f"{written.get(role, 0):,.0f}")
    for name, size in ours["peak_memory"].items():
        table.add_row(f"memory of the {name}", "", f"{size / 1e6:,.0f} MB")
    return table


def _floors(found: Mapping[str, Any]) -> Table:
    table = Table(title="floors: CPU seconds per million events, each alone")
    table.add_column("part")
    table.add_column("s", justify="right")
    for name, value in floors(found["floors"]):
        table.add_row(name, f"{value:.2f}")
    return table


def floors(found: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Name and CPU seconds per million events."""
    return [
        ("empty POST handler", found["empty"]["receiver_cpu_s"]),
        ("publish to a stream: client", found["publish_client"]),
        ("publish to a stream: broker", found["publish_broker"]),
        ("decode Arrow+zstd", found["decode"]["arrow"]),
        ("group by, twice", found["group"]),
        ("COPY: client", found["copy_client"]),
        ("COPY: server", found["copy_server"]),
        ("sum of these", found["sum_cpu_s"]),
        ("decode NDJSON+gzip", found["decode"]["ndjson"]),
        ("decode OTLP+gzip", found["decode"]["otlp"]),
        ("executemany, SQLite", found["executemany"]),
        ("our whole pipeline", found["pipeline"]),
    ]


def _verdicts(found: Mapping[str, Any]) -> Table:
    table = Table(title="what it must show")
    for name in ("figure", "measured", "required", ""):
        table.add_column(name, justify="right" if name in ("measured", "required") else "left")
    for one in found["verdicts"]:
        measured = "not measured" if one["measured"] is None else f"{one['measured']:,.2f} {one['unit']}"
        sign = "≤" if one["at_most"] else "≥"
        word = {True: "[green]yes[/]", False: "[red]no[/]", None: ""}[one["holds"]]
        table.add_row(one["figure"], measured, f"{sign} {one['required']:g} {one['unit']}", word)
    return table

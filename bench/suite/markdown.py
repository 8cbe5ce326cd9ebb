"""The tables of a run, as Markdown and for the terminal: the same cells."""

from collections.abc import Mapping, Sequence
from typing import Any

ROLES = ("receiver", "broker", "dispatcher", "workers", "database")
NAMES = {
    "sdk_50": "**sustained, sdk**",
    "sdk_512": "sustained, sdk",
    "sdk_10": "sustained, sdk",
    "sdk_50_plain": "posted at once, sdk",
    "sdk_50_json": "posted at once, sdk",
    "at_50_percent": "at 50 % of sustained",
    "at_80_percent": "at 80 % of sustained",
    "drain": "backlog drained",
    "reception": "reception alone, to the confirm",
    "customers_10": "10 customers at 50 %",
    "customers_100": "100 customers at 50 %",
    "customers_1000": "1,000 customers at 50 %",
    "arrow_sustained": "sustained",
    "arrow_1000": "posted at once",
    "arrow_100": "posted at once",
    "ndjson_1000": "posted at once",
    "otlp_1000": "posted at once",
    "rotel_50": "peer `rotel`, blackhole",
    "rotel_512": "peer `rotel`, blackhole",
    "rotel_10": "peer `rotel`, blackhole",
    "delay_per_event": "peer `delay_per_event`",
    "bulk_confirm": "peer `bulk_confirm`",
    "dlt": "peer `dlt` (no HTTP)",
}
_KEPT_UP = 0.9  # of the rate asked for: the windows' boundaries blur it
_DIGITS = {"s": 2, "×": 2, "ms": 3, "/s": 0, "MB": 0, "": 3}

Cells = list[str]


def runs(found: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """The measured rates with their names, in the order in which they are shown."""
    return [(NAMES[key], found["rows"][key]) for key in NAMES if key in found["rows"]]


def is_behind(run: Mapping[str, Any]) -> bool:
    """Whether less was committed than the rate that was asked for."""
    asked = run.get("asked_events_per_s")
    return asked is not None and run["events_per_s"] < _KEPT_UP * asked


def run_cells(name: str, run: Mapping[str, Any]) -> Cells:
    """Name, batch, events/s, CPU s per million events by role, and of the stack."""
    cpu = run["cost"]["cpu_s"]
    return [
        name + (" (behind)" if is_behind(run) else ""),
        in_words(run["batch"]),
        f"{run['events_per_s']:,.0f}",
        *(f"{cpu[role]:.2f}" if role in cpu else "" for role in ROLES),
        f"{run['cost']['stack_cpu_s']:.2f}",
    ]


def in_words(batch: str) -> str:
    """`arrow+zstd, 1000 events a batch, 2 attributes an event` with its thousands marked."""
    form, events, attributes = batch.split(", ")
    number, rest = events.split(" ", 1)
    return f"{form}, {int(number):,} {rest}, {attributes}"


def verdict_cells(verdict: Mapping[str, Any]) -> Cells:
    """Figure, measured, required, and whether it holds."""
    measured, required = verdict["measured"], number(verdict["required"], verdict["unit"], short=True)
    return [
        verdict["figure"],
        "not measured" if measured is None else number(measured, verdict["unit"]),
        f"{'≤' if verdict['at_most'] else '≥'} {required}",
        {True: "yes", False: "**no**", None: ""}[verdict["holds"]],
    ]


def number(value: float, unit: str, *, short: bool = False) -> str:
    """With its unit; `short` for one that was set, not measured."""
    digits = _DIGITS[unit]
    text = f"{value:,.{digits}f}"
    if short and "." in text:
        text = text.rstrip("0").rstrip(".")
    return f"{text} {unit}".strip() if unit != "/s" else text


def latency_cells(name: str, run: Mapping[str, Any]) -> Cells:
    """Name, events/s, and ms from accepted to committed."""
    latency = run["latency"]
    return [
        name,
        f"{run['events_per_s']:,.0f}",
        *(f"{latency[one]:,.0f}" for one in ("p50", "p99", "p999", "max")),
    ]


def floor_cells(found: Mapping[str, Any]) -> list[Cells]:
    """Name and CPU s per million events of each floor."""
    floors = found["floors"]
    received = floors["empty"]["receiver_cpu_ms"] * 1e3 / int(floors["batch"].split(", ")[1].split()[0])
    decode = dict(floors["decode"])
    return [
        [name, f"{value:.2f}"]
        for name, value in (
            ("empty handler, a request's share", received),
            ("publish to a stream: client", floors["publish_client"]),
            ("publish to a stream: broker", floors["publish_broker"]),
            (f"decode {in_words(floors['batch'])}", decode.pop(floors["batch"])),
            ("group by, twice", floors["group"]),
            ("COPY: client", floors["copy_client"]),
            ("COPY: server", floors["copy_server"]),
            ("**sum of these**", floors["sum_cpu_s"]),
            *((f"decode {in_words(batch)}", value) for batch, value in decode.items()),
            ("the whole default pipeline", floors["pipeline"]),
        )
    ]


def table(head: Sequence[str], cells: Sequence[Cells], *, left: int = 1) -> list[str]:
    """Lines of Markdown; the first `left` columns are of text."""
    marks = ["---" if at < left else "---:" for at in range(len(head))]
    return [_line(head), "|" + "|".join(marks) + "|", *map(_line, cells)]


def _line(cells: Sequence[str]) -> str:
    return ("| " + " | ".join(cells) + " |").replace("|  |", "| |")

"""The plots of docs/benchmarks.md, from a run's JSON."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.suite.table import floors, rows

_ROLES = ("receiver", "broker", "dispatcher", "workers", "database")
_COLOURS = dict(
    zip((*_ROLES, "floor"), ("#4477aa", "#ee6677", "#ccbb44", "#228833", "#66ccee", "#999999"), strict=True)
)


def draw(found: Mapping[str, Any], folder: Path) -> None:
    """Write rates.svg, cost.svg, lag.svg and latency.svg; the same JSON gives the same bytes."""
    mpl.rcParams["svg.hashsalt"] = "sluice"
    folder.mkdir(parents=True, exist_ok=True)
    for name, plot in (("rates", _rates), ("cost", _cost), ("lag", _lag), ("latency", _latency)):
        figure = Figure(figsize=(8, 4), layout="constrained")
        plot(figure.subplots(), found)
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def _rates(axes: Axes, found: Mapping[str, Any]) -> None:
    shown = [(name, run) for name, run in rows(found) if not name.startswith(("as fast", "paced"))]
    names, rates = [name for name, _ in shown], [run["events_per_s"] for _, run in shown]
    colours = ["#999999" if name.startswith("peer") else "#228833" for name in names]
    bars = axes.barh(names, rates, color=colours)
    axes.bar_label(bars, labels=[f" {rate:,.0f}" for rate in rates], fontsize=8)
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.invert_yaxis()
    axes.set_xlabel("events a second, from HTTP to commit (log scale)")


def _cost(axes: Axes, found: Mapping[str, Any]) -> None:
    ours = found["ours"]
    shown = [("sustained", ours["sustained"]), ("at 50 %", ours["at_50_percent"]), ("drain", ours["drain"])]
    shown += [(run["batch"].replace(" events a batch", ""), run) for run in ours["sides"]]
    left = [0.0] * len(shown)
    for role in _ROLES:
        widths = [run["cost"]["cpu_s"].get(role, 0.0) for _, run in shown]
        axes.barh([name for name, _ in shown], widths, left=left, label=role, color=_COLOURS[role])
        left = [a + b for a, b in zip(left, widths, strict=True)]
    total = dict(floors(found["floors"]))["sum of these"]
    axes.axvline(total, color=_COLOURS["floor"], linestyle="--", label="sum of the floors")
    axes.invert_yaxis()
    axes.set_xlabel("CPU seconds per million events")
    axes.legend(fontsize=8)


def _lag(axes: Axes, found: Mapping[str, Any]) -> None:
    ours = found["ours"]
    for name, run in (
        ("sustained", ours["sustained"]),
        ("at 50 %", ours["at_50_percent"]),
        ("at 80 %", ours["at_80_percent"]),
    ):
        seconds, lag = zip(*run["lag_events"], strict=True)
        axes.plot(seconds, lag, label=name, linewidth=1)
    axes.set_xlabel("seconds")
    axes.set_ylabel("events accepted, not committed")
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)


def _latency(axes: Axes, found: Mapping[str, Any]) -> None:
    ours = found["ours"]
    marks = ("p50", "p99", "p999", "max")
    for name, run in (("at 50 %", ours["at_50_percent"]), ("at 80 %", ours["at_80_percent"])):
        axes.plot(marks, [run["latency"][mark] for mark in marks], marker="o", label=name)
    axes.axhline(1_000, color=_COLOURS["floor"], linestyle="--", label="the promise, at p99.9")
    axes.set_yscale("log")
    axes.set_ylabel("ms from accepted to committed")
    axes.legend(fontsize=8)

"""The plots of docs/benchmarks.md, from a run's JSON."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bench.suite.markdown import NAMES, ROLES, runs

_COLOURS = dict(
    zip((*ROLES, "floor"), ("#4477aa", "#ee6677", "#ccbb44", "#228833", "#66ccee", "#999999"), strict=True)
)


def draw(found: Mapping[str, Any], folder: Path) -> None:
    """Write rates.svg, cost.svg, lag.svg and latency.svg; the same JSON gives the same bytes."""
    mpl.rcParams["svg.hashsalt"] = "sluice"
    folder.mkdir(parents=True, exist_ok=True)
    for name, plot in (("rates", _rates), ("cost", _cost), ("lag", _lag), ("latency", _latency)):
        figure = Figure(figsize=(9, 5), layout="constrained")
        plot(figure.subplots(), found)
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def _rates(axes: Axes, found: Mapping[str, Any]) -> None:
    shown = [(_label(name, run), run) for name, run in runs(found) if not run.get("asked_events_per_s")]
    names, rates = [name for name, _ in shown], [run["events_per_s"] for _, run in shown]
    colours = ["#999999" if name.startswith("peer") else "#228833" for name in names]
    bars = axes.barh(names, rates, color=colours)
    axes.bar_label(bars, labels=[f" {rate:,.0f}" for rate in rates], fontsize=8)
    axes.tick_params(axis="y", labelsize=7)
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.invert_yaxis()
    axes.set_xlabel("events a second, from HTTP to commit (log scale)")


def _cost(axes: Axes, found: Mapping[str, Any]) -> None:
    shown = [(_label(name, run), run) for name, run in runs(found) if "delay" not in name]
    left = [0.0] * len(shown)
    for role in ROLES:
        widths = [run["cost"]["cpu_s"].get(role, 0.0) for _, run in shown]
        axes.barh([name for name, _ in shown], widths, left=left, label=role, color=_COLOURS[role])
        left = [a + b for a, b in zip(left, widths, strict=True)]
    axes.axvline(
        found["floors"]["sum_cpu_s"], color=_COLOURS["floor"], linestyle="--", label="sum of the floors"
    )
    axes.tick_params(axis="y", labelsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("CPU seconds per million events")
    _legend(axes)


def _label(name: str, run: Mapping[str, Any]) -> str:
    form, events, *_ = run["batch"].split(", ")
    return f"{name.replace('*', '').replace('`', '')}: {form}, {events.split()[0]}"


def _lag(axes: Axes, found: Mapping[str, Any]) -> None:
    for name, run in runs(found):
        if run.get("lag_events") and (run.get("asked_events_per_s") or name == NAMES["sdk_50"]):
            seconds, lag = zip(*run["lag_events"], strict=True)
            axes.plot(seconds, lag, label=name.replace("*", ""), linewidth=1)
    axes.set_xlabel("seconds")
    axes.set_ylabel("events accepted, not committed")
    axes.set_ylim(bottom=0)
    _legend(axes)


def _latency(axes: Axes, found: Mapping[str, Any]) -> None:
    marks = ("p50", "p99", "p999", "max")
    for name, run in runs(found):
        if run.get("latency"):
            axes.plot(marks, [run["latency"][mark] for mark in marks], marker="o", label=name)
    axes.axhline(1_000, color=_COLOURS["floor"], linestyle="--", label="the promise, at p99.9")
    axes.set_yscale("log")
    axes.set_ylabel("ms from accepted to committed")
    _legend(axes)


def _legend(axes: Axes) -> None:
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8)

"""What the user sees of a run: a live table on a terminal, plain lines elsewhere."""

import datetime
import sys
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from honcho.colour import get_colours
from honcho.printer import Message, Printer
from rich import box
from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

PLAIN_EVERY_S = 10.0
SIDE_BY_SIDE_FROM = 120  # columns
WIDE_FROM = 100  # columns
RUN = "run"  # the name under which the runner itself speaks


@dataclass(frozen=True, slots=True)
class WatchedCustomer:
    """One customer as `flask watch --json` says; times are None while nothing was committed lately."""

    customer: str
    state: str
    breaker_reason: str | None
    deposited_batches_per_second: float
    deposited_events_per_second: float
    owed_batches: int
    oldest_owed_seconds: float | None
    p50_seconds: float | None
    p99_seconds: float | None
    p999_seconds: float | None
    balanced: bool | None

    @classmethod
    def of(cls, figures: dict[str, Any]) -> "WatchedCustomer":
        chosen: dict[str, Any] = {name: figures.get(name) for name in cls.__dataclass_fields__}
        return cls(**chosen)


@dataclass(frozen=True, slots=True)
class ProcessRow:
    """One process; `well` is False while it is down or starting again."""

    name: str
    pid: int | None
    words: str
    well: bool


@dataclass(slots=True)
class View:
    """Everything that is shown, changed in place by the runner and its readers."""

    links: dict[str, str] = field(default_factory=dict)
    note: str = ""
    customers: list[WatchedCustomer] = field(default_factory=list)
    left_out: int = 0
    problem: str | None = None
    rows: list[ProcessRow] = field(default_factory=list)
    lines: "deque[tuple[str, str]]" = field(default_factory=lambda: deque(maxlen=200))


class Screen(Protocol):
    def show(self, view: View) -> None: ...

    def tell(self, text: str) -> None:
        """Something happened to a process that the user must not miss."""

    def close(self) -> None: ...


class LiveTable:
    """The whole terminal; what was told is repeated below when it closes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._told: deque[str] = deque(maxlen=5)
        self._live = Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False)
        self._live.start()

    def show(self, view: View) -> None:
        size = self._console.size
        self._live.update(layout(view, size.width, size.height), refresh=True)

    def tell(self, text: str) -> None:
        self._told.append(f"{datetime.datetime.now():%H:%M:%S} {text}")

    def close(self) -> None:
        self._live.stop()
        for text in self._told:
            self._console.print(text, markup=False, highlight=False)


class PlainLines:
    """One line a customer every ten seconds, and whatever happens to a process."""

    def __init__(self) -> None:
        self._printer = Printer(sys.stdout, width=8)
        self._next = time.monotonic() + PLAIN_EVERY_S

    def show(self, view: View) -> None:
        if time.monotonic() < self._next or not (view.customers or view.problem):
            return
        self._next = time.monotonic() + PLAIN_EVERY_S
        if view.problem:
            self._print("books", view.problem)
        for one in view.customers:
            self._print(one.customer, sentence(one))

    def tell(self, text: str) -> None:
        self._print(RUN, text)

    def close(self) -> None:
        sys.stdout.flush()

    def _print(self, name: str, text: str) -> None:
        self._printer.write(Message("line", text, datetime.datetime.now(), name, None))


class Silent:
    """For a run in the background: the logs have it all."""

    def show(self, view: View) -> None: ...

    def tell(self, text: str) -> None: ...

    def close(self) -> None: ...


def screen() -> Screen:
    console = Console()
    return LiveTable(console) if console.is_terminal and not console.is_dumb_terminal else PlainLines()


def layout(view: View, width: int, height: int) -> RenderableType:
    """The screen of `width` × `height` characters."""
    heads: list[RenderableType] = [
        _links(view),
        *([Text(view.note, style="bold yellow")] if view.note else []),
    ]
    beside = width >= SIDE_BY_SIDE_FROM
    customers, processes = _customers(view, wide=width >= WIDE_FROM), _processes(view.rows)
    tall = [max(1, len(view.customers)) + bool(view.left_out or view.problem) + 5, len(view.rows) + 5]
    middle = Layout(size=max(tall) if beside else sum(tall))
    parts = (
        Layout(customers, ratio=11 if beside else tall[0]),
        Layout(processes, ratio=4 if beside else tall[1]),
    )
    middle.split_row(*parts) if beside else middle.split_column(*parts)
    top, whole = Layout(Group(*heads), size=len(view.links) + len(heads)), Layout()
    left = height - (top.size or 0) - (middle.size or 0) - 2
    whole.split_column(top, middle, Layout(_tail(view.lines, max(1, left), width), ratio=1))
    return whole


def sentence(one: WatchedCustomer) -> str:
    return (
        f"{one.deposited_batches_per_second or 0:,.1f} batches/s,"
        f" {one.deposited_events_per_second or 0:,.0f} events/s, lag {lag(one)}, "
        f"p50 {seconds(one.p50_seconds)}, p99 {seconds(one.p99_seconds)}, p99.9 {seconds(one.p999_seconds)}, "
        f"books {books(one.balanced)}"
    )


def lag(one: WatchedCustomer) -> str:
    if not one.owed_batches:
        return "none"
    return f"{one.owed_batches:,} batches, {seconds(one.oldest_owed_seconds)}"


def seconds(value: float | None) -> str:
    if value is None:
        return "–"
    if value < 1:
        return f"{value * 1000:.0f} ms"
    return f"{value:.1f} s" if value < 100 else f"{value:,.0f} s"


def books(balanced: bool | None) -> str:
    return {True: "balanced", False: "NOT BALANCED", None: "–"}[balanced]


def _links(view: View) -> Table:
    grid = Table.grid(padding=(0, 2))
    for name, link in view.links.items():
        grid.add_row(Text(name, style="bold"), Text(link, style="cyan"))
    return grid


def _customers(view: View, *, wide: bool) -> RenderableType:
    table = _table("customers (p50 … p99.9: from accepted to committed)")
    table.add_column("customer", no_wrap=True)
    behind = ("behind",) if wide else ()
    for name in ("batches/s", "events/s", "lag", *behind, "p50", "p99", "p99.9"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("books", no_wrap=True)
    for one in view.customers:
        state = "breaker open" if one.breaker_reason else one.state
        slug = Text(one.customer) + Text("" if state == "active" else f" {state}", style="yellow")
        behind_s = (one.oldest_owed_seconds,) if wide else ()
        times = (seconds(value) for value in (*behind_s, one.p50_seconds, one.p99_seconds, one.p999_seconds))
        style = {True: "green", False: "bold red", None: "dim"}[one.balanced]
        table.add_row(
            slug,
            f"{one.deposited_batches_per_second or 0:,.1f}",
            f"{one.deposited_events_per_second or 0:,.0f}",
            f"{one.owed_batches or 0:,}",
            *times,
            Text(books(one.balanced), style=style),
        )
    if not view.customers and not view.problem:
        table.add_row(Text("none yet", style="dim"))
    if view.problem:
        table.caption = Text(view.problem, style="bold red")
    elif view.left_out:
        table.caption = f"and {view.left_out:,} more that are less behind: flask lag"
    return table


def _processes(rows: Sequence[ProcessRow]) -> RenderableType:
    table = _table("processes")
    table.add_column("process", no_wrap=True)
    table.add_column("pid", justify="right", no_wrap=True)
    table.add_column("state")
    for row in rows:
        pid = "" if row.pid is None else str(row.pid)
        table.add_row(row.name, pid, Text(row.words, style="green" if row.well else "bold red"))
    return table


def _table(title: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, expand=True, header_style="bold", padding=(0, 1, 0, 0))
    table.title, table.title_justify = title, "left"
    return table


def _tail(lines: "deque[tuple[str, str]]", count: int, width: int) -> RenderableType:
    known = list(lines.copy())  # copied in one step: readers' threads append to it
    last = known[-count:]
    styles = dict(zip(sorted({name for name, _ in known}), get_colours(), strict=False))
    text = Text(no_wrap=True, overflow="ellipsis")
    for name, line in last:
        text.append_text(Text.from_ansi(f"\x1b[{styles[name]}m{name:<10}\x1b[0m "))
        text.append(line[:width] + "\n", style="bold yellow" if name == RUN else "")
    return Panel(text, title="last lines of the logs", title_align="left", border_style="dim")

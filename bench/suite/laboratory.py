"""Rows of one run: each is measured and kept, or its failure is, and the next one goes on."""

import contextlib
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy.exc import SQLAlchemyError

from bench.installation import servers, sluice
from bench.installation.servers import Servers
from bench.installation.sluice import Sluice
from bench.load import generator
from bench.load.generator import Generator
from bench.measuring.figures import Cost, Run
from bench.measuring.measure import NotCounted
from bench.places import ROOT
from bench.suite.ours import Ours, ReceiverRun
from bench.suite.sizes import Sizes
from deploy.local import install

Value = TypeVar("Value")
#: what a row may end with; anything else is a mistake of the benchmark and ends the run
FAILURES = (
    NotCounted,
    OSError,
    SQLAlchemyError,
    ValueError,
    subprocess.SubprocessError,
    install.PackageMissing,
)


@dataclass(kw_only=True)
class Laboratory:
    """One generator and at most one installation at a time; both are made anew after a row that failed."""

    servers: Servers
    sizes: Sizes
    say: Callable[[str], None]
    rows: dict[str, Any] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    _installed: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _load: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _generator: Generator | None = None
    _ours: Ours | None = None
    _installations: int = 0

    def close(self) -> None:
        """Stop all that runs."""
        self.clear()
        self._generator = None
        self._load.close()

    def clear(self) -> None:
        """Stop the installations; the generator keeps what it has encoded."""
        self._ours = None
        self._installed.close()

    @property
    def generator(self) -> Generator:
        if self._generator is None:
            self._generator = self._load.enter_context(generator.running())
        return self._generator

    def ours(self) -> Ours:
        """Sluice on PostgreSQL; none of its processes is started yet when it is new."""
        if self._ours is None:
            load = self.generator
            installed = self.installed()
            self._ours = Ours(sluice=installed, generator=load, sizes=self.sizes, say=self.say)
        return self._ours

    def installed(self) -> Sluice:
        """Another installation beside, until `clear`."""
        self._installations += 1
        name = f"sluice{self._installations}"
        url = self.servers.new_database(name)
        servers.migrate(url)
        return self._installed.enter_context(sluice.installed(self.servers, url, name=name))

    def row(self, key: str, measure: Callable[[], Value]) -> Value | None:
        """Measure one row. None when it failed: why stands in `failed`, and in the log."""
        self.say(key)
        began = time.monotonic()
        try:
            value = measure()
        except FAILURES as problem:
            self.failed[key] = f"{type(problem).__name__}: {problem}"[:500]
            self.say(f"  FAILED: {self.failed[key]}")
            keep_logs(self.servers)
            self.close()
            return None
        self.rows[key] = figures(value)
        self.say(f"  {_in_words(value)} ({time.monotonic() - began:.0f} s)")
        return value


def figures(value: Any) -> dict[str, Any]:
    """As JSON."""
    if isinstance(value, dict):
        return value
    found = asdict(value)
    if isinstance(getattr(value, "cost", None), Cost):
        found["cost"]["stack_cpu_s"] = value.cost.stack_cpu_s
    if isinstance(value, ReceiverRun):
        found["receiver_cpu_ms"] = value.receiver_cpu_ms
    if isinstance(value, Run) and value.lag_events:
        first = value.lag_events[0][0]
        found["lag_events"] = [(round(moment - first, 2), lag) for moment, lag in value.lag_events]
    return found


def keep_logs(running: Servers) -> None:
    """The servers' folder is deleted at the end: what the logs say of a failure is kept beside it."""
    kept = ROOT / "var" / "bench-failed"
    kept.mkdir(parents=True, exist_ok=True)
    for log in Path(running.folder).glob("*/*.log"):
        (kept / f"{log.parent.name}-{log.name}").write_bytes(log.read_bytes()[-1_000_000:])
    print(f"the logs are kept in {kept.relative_to(ROOT)}", file=sys.stderr)


def _in_words(value: Any) -> str:
    cost = getattr(value, "cost", None)
    if not isinstance(cost, Cost):
        return "done"
    return f"{value.events_per_s:,.0f} events/s, {cost.stack_cpu_s:.1f} CPU s per million events"

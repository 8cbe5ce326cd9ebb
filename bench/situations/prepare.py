"""What the benchmarks of a load have in common: the servers, an installation, and a file of figures."""

import argparse
import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

from bench.installation import machine, servers, sluice
from bench.installation.sluice import Sluice
from bench.measuring.measure import NotCounted
from bench.places import ROOT
from deploy.local import install

Measure = Callable[[Sluice, bool], dict[str, Any]]


def main(name: str, about: str, measure: Measure) -> int:
    """Measure one situation on fresh servers; write bench/results/<name>.json, or var/ when it is quick."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help="a rough look, not written to bench/results")
    quick = parser.parse_args().quick
    # A stop asked for by a signal takes the same way out as Ctrl-C: everything that was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with installed(name) as one:
            found = machine.describe(one.servers, quick=quick) | measure(one, quick)
    except NotCounted as problem:
        print(f"the run does not count: {problem}", file=sys.stderr)
        return 1
    except install.PackageMissing as problem:
        print(problem, file=sys.stderr)
        return 2
    folder = ROOT / "var" / "bench-quick" if quick else ROOT / "bench" / "results"
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    print(f"written to {path.relative_to(ROOT)}")
    for verdict in found["verdicts"]:
        print(
            f"{'holds' if verdict['holds'] else 'DOES NOT HOLD'}: {verdict['promise']} ({verdict['found']})"
        )
    return 0 if all(verdict["holds"] for verdict in found["verdicts"]) else 3


@contextlib.contextmanager
def installed(name: str) -> Iterator[Sluice]:
    """Sluice on servers of its own, nothing of it started; the logs are kept beside when it goes wrong."""
    with servers.running(ROOT / "var" / f"bench-{name}") as running:
        url = running.new_database(name.replace("-", "_"))
        servers.migrate(url)
        with contextlib.ExitStack() as undone, sluice.installed(running, url, name="sluice") as one:
            undone.callback(_keep_logs, running.folder)
            yield one
            undone.pop_all()


def verdict(promise: str, found: str, *, holds: bool) -> dict[str, Any]:
    """One promise, what was found, and whether it was kept."""
    return {"promise": promise, "found": found, "holds": holds}


def now_us() -> int:
    """Microseconds since 1970, as the ledger counts."""
    return time.time_ns() // 1_000


def say(words: str) -> None:
    print(f"{time.strftime('%H:%M:%S')}  {words}", flush=True)


def _keep_logs(folder: Any) -> None:
    kept = ROOT / "var" / "bench-failed"
    kept.mkdir(parents=True, exist_ok=True)
    for log in folder.glob("*/*.log"):
        (kept / f"{log.parent.name}-{log.name}").write_bytes(log.read_bytes()[-1_000_000:])
    print(f"the logs are kept in {kept.relative_to(ROOT)}", file=sys.stderr)

"""Measure everything side by side on this machine: `make bench`, or `make bench QUICK=1` for a rough look.

    python -m bench.run [--quick]

A full run writes bench/results/latest.json and the plots of docs/benchmarks.md; a quick one var/bench-quick/.
"""

import argparse
import contextlib
import json
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from bench.floors import measured as floors
from bench.installation import machine, servers, sluice
from bench.installation.servers import Servers
from bench.load import generator
from bench.load.generator import Generator
from bench.load.workload import SEED, SPANS_PER_S, Kind
from bench.measuring.figures import Cost, Run
from bench.measuring.measure import Measurement, NotCounted
from bench.places import ROOT
from bench.suite import plots, rivals, table
from bench.suite.ours import Ours
from bench.suite.required import verdicts
from bench.suite.sizes import FULL, QUICK, Sizes
from deploy.local import install

# Events that may wait while a peer is measured: enough for both worker processes and what they prefetch.
_PEERS = {"delay_per_event": 12_000, "bulk_confirm": 12_000}


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under 2 minutes, rough figures")
    options = parser.parse_args(arguments)
    # A stop asked for by a signal takes the same way out as Ctrl-C: everything that was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        found = measure(QUICK if options.quick else FULL, quick=options.quick)
    except NotCounted as problem:
        print(f"\nthe run does not count: {problem}", file=sys.stderr)
        return 1
    except install.PackageMissing as problem:
        print(problem, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("\nstopped", file=sys.stderr)
        return 130
    target = ROOT / "var" / "bench-quick" if options.quick else ROOT / "bench" / "results"
    target.mkdir(parents=True, exist_ok=True)
    path = target / "latest.json"
    path.write_text(json.dumps(found, indent=1) + "\n")
    plots.draw(found, target if options.quick else ROOT / "docs" / "plots")
    table.show(found)
    print(f"written to {path.relative_to(ROOT)} after {found['seconds']:.0f} s")
    return 0


def measure(sizes: Sizes, *, quick: bool) -> dict[str, Any]:
    """Everything, as what becomes JSON. Raises NotCounted when books do not balance or a run stalls."""
    began = time.monotonic()
    say = _teller(began)
    say("starting RabbitMQ and PostgreSQL")
    with servers.running(ROOT / "var" / "bench") as running, generator.running() as load:
        about = machine.describe(running, quick=quick) | {
            "workload": {"seed": SEED, "spans_per_s": SPANS_PER_S, "batch": Kind().name}
        }
        say("floors")
        floor = floors.measure(running, load, seconds=sizes.floor_s, empty_s=sizes.empty_s)
        ours = _ours(running, load, sizes, say)
        if sizes.sqlite_s:
            say("Sluice on SQLite")
            ours["sqlite"] = _on_sqlite(running, load, sizes, say)
        peers = _peers(running, load, sizes, say)
    found = about | {
        "floors": asdict(floor) | {"sum_cpu_s": floor.sum_cpu_s},
        "ours": ours,
        "peers": peers,
        "seconds": time.monotonic() - began,
    }
    found["verdicts"] = [asdict(one) | {"holds": one.holds} for one in verdicts(found)]
    return found


def _ours(running: Servers, load: Generator, sizes: Sizes, say: Callable[[str], None]) -> dict[str, Any]:
    with (
        _logs_on_failure(running),
        _installed(running, running.new_database("sluice"), "sluice") as installed,
    ):
        ours = Ours(sluice=installed, generator=load, sizes=sizes, say=say)
        say(f"reception alone: {sizes.backlog:,} events")
        reception = ours.receive()
        say(f"  {reception.requests_per_s:,.0f} requests/s; working them off")
        backlog = ours.work_off()
        say(f"  {backlog.events_per_s:,.0f} events/s; sustained for {sizes.sustained_s:.0f} s")
        sustained = ours.sustain(backlog.events_per_s)
        say("latency at half and at four fifths of that")
        rate = sustained.events_per_s
        half = ours.pace("at 50 %", 0.5 * rate, sizes.latency_s)
        most = ours.pace("at 80 %", 0.8 * rate, sizes.latency_s)
        memory, idle = installed.peak_memory(), ours.idle()
        say("formats and batch sizes")
        sides = ours.sides()
        say("customers")
        customers = ours.customers(backlog.events_per_s, 0.5 * rate)
        one_worker = ours.one_worker(backlog.events_per_s) if sizes.one_worker_s else None
    return {
        "reception": _figures(reception),
        "drain": _figures(backlog),
        "sustained": _figures(sustained),
        "at_50_percent": _figures(half),
        "at_80_percent": _figures(most),
        "peak_memory": memory,
        "idle_cores": idle,
        "sides": [_figures(run) for run in sides],
        "customers": {
            str(count): {name: _figures(run) for name, run in runs.items()}
            for count, runs in customers.items()
        },
        **({"one_worker": _figures(one_worker)} if one_worker else {}),
    }


def _on_sqlite(running: Servers, load: Generator, sizes: Sizes, say: Callable[[str], None]) -> dict[str, Any]:
    url = f"sqlite:///{running.folder / 'sluice.db'}"
    with _logs_on_failure(running), _installed(running, url, "sqlite") as installed:
        run = Ours(sluice=installed, generator=load, sizes=sizes, say=say).alone(sizes.sqlite_s)
    return _figures(run)


def _peers(running: Servers, load: Generator, sizes: Sizes, say: Callable[[str], None]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for module, headroom in _PEERS.items():
        say(f"peer {module}")
        with _logs_on_failure(running), rivals.celery_peer(running, module) as peer:
            load.prepare(Kind(form="json", encoding="none"), int(40 * (sizes.peer_warm_s + sizes.peer_s)))
            run = Measurement(subject=peer, generator=load, name=module).steady(
                headroom=headroom, warm_s=sizes.peer_warm_s, seconds=sizes.peer_s
            )
        say(f"  {run.events_per_s:,.0f} events/s")
        found[module] = _figures(run)
    say("peer dlt")
    with _logs_on_failure(running):
        found["dlt"] = _figures(rivals.measure_third(running, sizes.third_batches))
    return found


@contextlib.contextmanager
def _installed(running: Servers, url: str, name: str) -> Iterator[sluice.Sluice]:
    servers.migrate(url)
    with sluice.installed(running, url, name=name) as installed:
        yield installed


@contextlib.contextmanager
def _logs_on_failure(running: Servers) -> Iterator[None]:
    """The servers' folder is deleted at the end: what the logs say of a failure is kept beside it."""
    with contextlib.ExitStack() as undone:
        undone.callback(_keep_logs, running)
        yield
        undone.pop_all()  # all went well: nothing to keep


def _keep_logs(running: Servers) -> None:
    kept = ROOT / "var" / "bench-failed"
    kept.mkdir(parents=True, exist_ok=True)
    for log in running.folder.glob("*/*.log"):
        (kept / f"{log.parent.name}-{log.name}").write_bytes(log.read_bytes()[-1_000_000:])
    print(f"the logs are kept in {kept.relative_to(ROOT)}", file=sys.stderr)


def _figures(value: Any) -> dict[str, Any]:
    figures = asdict(value)
    if isinstance(getattr(value, "cost", None), Cost):
        figures["cost"]["stack_cpu_s"] = value.cost.stack_cpu_s
    if isinstance(value, Run) and value.lag_events:
        first = value.lag_events[0][0]
        figures["lag_events"] = [(round(moment - first, 2), lag) for moment, lag in value.lag_events]
    return figures


def _teller(began: float) -> Callable[[str], None]:
    return lambda words: print(f"{time.monotonic() - began:5.0f} s  {words}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

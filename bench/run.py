"""Measure everything side by side on this machine: `make bench`, or `make bench QUICK=1` for a rough look.

    python -m bench.run [--quick]

A full run writes bench/results/latest.json and the plots of docs/benchmarks.md; a quick one var/bench-quick/.
`python -m bench.suite.page` then writes the figures into the pages.
"""

import argparse
import json
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from bench.floors import measured as floors
from bench.installation import machine, servers
from bench.load.workload import SDK, SEED, SPANS_PER_S
from bench.places import ROOT
from bench.suite import plots, table
from bench.suite.laboratory import Laboratory
from bench.suite.required import verdicts
from bench.suite.rows import measure_all
from bench.suite.sizes import FULL, QUICK, Sizes
from deploy.local import install


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m bench.run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="under 4 minutes, rough figures")
    options = parser.parse_args(arguments)
    # A stop asked for by a signal takes the same way out as Ctrl-C: everything that was started is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        found = measure(QUICK if options.quick else FULL, quick=options.quick)
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
    for row, why in found["failed"].items():
        print(f"the row {row} does not count: {why}", file=sys.stderr)
    return 1 if found["failed"] else 0


def measure(sizes: Sizes, *, quick: bool) -> dict[str, Any]:
    """Everything, as what becomes JSON. A row whose books do not balance, or that stalls, is in `failed`."""
    began = time.monotonic()
    say = _teller(began)
    say("starting RabbitMQ and PostgreSQL")
    with servers.running(ROOT / "var" / "bench") as running:
        found = machine.describe(running, quick=quick) | {
            "workload": {"seed": SEED, "spans_per_s": SPANS_PER_S, "batch": SDK.name}
        }
        laboratory = Laboratory(servers=running, sizes=sizes, say=say)
        try:
            say("floors")
            floor = floors.measure(
                running, laboratory.generator, seconds=sizes.floor_s, empty_s=sizes.empty_s
            )
            measure_all(laboratory)
        finally:
            laboratory.close()
    found |= {
        "floors": asdict(floor) | {"sum_cpu_s": floor.sum_cpu_s},
        "rows": laboratory.rows,
        "failed": laboratory.failed,
        "seconds": time.monotonic() - began,
    }
    found["verdicts"] = [asdict(one) | {"holds": one.holds} for one in verdicts(found)]
    return found


def _teller(began: float) -> Callable[[str], None]:
    return lambda words: print(f"{time.monotonic() - began:5.0f} s  {words}", flush=True)


if __name__ == "__main__":
    sys.exit(main())

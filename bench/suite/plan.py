"""A paper plan for 1.16 million events/s and 10 million agents, from a run's figures.

`python -m bench.suite.plan` prints it.

The cost of a span in a batch of B spans is taken as a + b / B, by role, a and b fitted to the sustained runs
with batches of different sizes (as SDKs post them: OTLP protobuf with gzip). Prints Markdown.
"""

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.places import ROOT

EVENTS_PER_S = 100e9 / 86_400  # 100 billion a day
AGENTS = 10e6
BUSY = 0.6  # of each core, so that peaks and the loss of a machine are borne
CORES = 16  # of a machine
REPLICAS = 3  # of streams and queues
DISK_BYTES_PER_S = 500e6  # that a machine writes steadily, half of what its drive could
ROLES = ("receiver", "broker", "dispatcher", "workers", "database")


@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """CPU seconds per million events, and per million batches."""

    event: float
    batch: float

    def cores(self, batch_events: float) -> float:
        """Fully used cores at EVENTS_PER_S."""
        return EVENTS_PER_S / 1e6 * (self.event + self.batch / batch_events)


def costs(found: Mapping[str, Any]) -> dict[str, CostModel]:
    """By role. Raises ValueError when the run lacks 50 spans a batch or another size."""
    runs = [found["rows"][name] for name in ("sdk_10", "sdk_50", "sdk_512") if name in found["rows"]]
    sizes = np.array([run["batch_events"] for run in runs], dtype=float)
    if len(set(sizes)) < 2 or 50 not in sizes:
        raise ValueError("the plan needs runs with at least two batch sizes, one of them 50 spans")
    return {role: _fitted(sizes, [run["cost"]["cpu_s"][role] for run in runs]) for role in ROLES}


def lines(found: Mapping[str, Any]) -> list[str]:
    """The plan as lines of Markdown."""
    by_role, sustained = costs(found), found["rows"]["sdk_50"]
    written = sustained["cost"]["written_bytes_per_event"]
    body = sustained["body_bytes_per_event"]
    said = [
        f"Fitted to the run of {found['at'][:10]} on {found['machine']['cpu']}, in CPU seconds:",
        "",
        "| role | per million spans | per million batches |",
        "|---|---:|---:|",
        *(f"| {role} | {cost.event:.2f} | {cost.batch:,.0f} |" for role, cost in by_role.items()),
        "",
        f"Cores in use at {EVENTS_PER_S:,.0f} events/s, and in brackets the machines of {CORES} cores kept"
        f" {BUSY:.0%} busy, by the way the {AGENTS:,.0f} agents post:",
        "",
        f"| agents post | spans a batch | requests/s | {' | '.join(ROLES)} |",
        f"|---|---:|---:|{'---:|' * len(ROLES)}",
    ]
    for name, seconds in (
        ("every minute", 60),
        ("every 10 minutes", 600),
        ("every hour", 3_600),
        ("to collectors", 0),
    ):
        events = EVENTS_PER_S * seconds / AGENTS if seconds else 512.0
        cells = []
        for role in ROLES:
            cores = by_role[role].cores(events)
            cells.append(f"{cores:,.1f} ({machines(cores)})")
        said.append(f"| {name} | {events:,.0f} | {EVENTS_PER_S / events:,.0f} | {' | '.join(cells)} |")
    broker, database = written["broker"] * EVENTS_PER_S, written["database"] * EVENTS_PER_S
    return [
        *said,
        "",
        f"* Into the receivers: {body * EVENTS_PER_S / 1e6:,.0f} MB/s ({body:.0f} bytes a span as sent).",
        f"* RabbitMQ writes {broker / 1e6:,.0f} MB/s on one node ({written['broker']:.0f} bytes a span),"
        f" with {REPLICAS} replicas {REPLICAS * broker / 1e6:,.0f} MB/s over the cluster: at least"
        f" {max(REPLICAS, math.ceil(REPLICAS * broker / DISK_BYTES_PER_S))} nodes at"
        f" {DISK_BYTES_PER_S / 1e6:.0f} MB/s each.",
        f"* PostgreSQL writes {database / 1e6:,.0f} MB/s ({written['database']:.0f} bytes a span, WAL and"
        f" tables): {max(1, math.ceil(database / DISK_BYTES_PER_S))} drive(s) of"
        f" {DISK_BYTES_PER_S / 1e6:.0f} MB/s.",
    ]


def machines(cores: float) -> int:
    """Of CORES cores each, BUSY of them in use."""
    return max(1, math.ceil(cores / (CORES * BUSY)))


def _fitted(sizes: "np.ndarray[Any, np.dtype[np.float64]]", cpu_s: Sequence[float]) -> CostModel:
    """A and b of a + b / size, neither below 0."""
    terms = np.column_stack([np.ones(len(sizes)), 1 / sizes])
    (event, batch), *_ = np.linalg.lstsq(terms, np.array(cpu_s), rcond=None)
    return CostModel(event=max(0.0, float(event)), batch=max(0.0, float(batch)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.suite.plan", description=__doc__)
    parser.add_argument("json", nargs="?", type=Path, default=ROOT / "bench" / "results" / "latest.json")
    print("\n".join(lines(json.loads(parser.parse_args().json.read_text()))))


if __name__ == "__main__":
    main()

"""Streams that can't be read: `make bench-broken-streams`.

50 customers, of which 48 post 20 batches a second in all: first while all is well, then beside one whose
stream has no leader and one whose stream was deleted, then with a dispatcher that was started beside these.
"""

import sys
import time
from dataclasses import asdict
from typing import Any

from kombu import Connection

from bench.installation.leaderless import leaderless
from bench.installation.sluice import Sluice
from bench.load import generator
from bench.load.generator import Generator
from bench.load.workload import Kind
from bench.measuring.figures import Latency
from bench.measuring.measure import NotCounted
from bench.situations import prepare
from bench.situations.prepare import now_us, say, verdict

CUSTOMERS = 50
BATCHES_PER_S = 20
KIND = Kind(events=100)
CONNECTIONS = 8
WARM_S = 10.0
WORSE = 1.2  # most that the others' median may grow
ANSWER_S = 60.0
DRAINED_S = 120.0


def measure(sluice: Sluice, quick: bool) -> dict[str, Any]:
    seconds = 15.0 if quick else 60.0
    slugs = [f"broken-{at}" for at in range(CUSTOMERS)]
    sluice.add_customers(*slugs)
    sluice.start_receiver()
    sluice.start_worker(2)
    sluice.start_dispatcher()
    headless, deleted, *others = slugs
    node = sluice.servers.node
    with generator.running() as agents:
        agents.prepare(KIND, int(BATCHES_PER_S * seconds))
        _posted(sluice, agents, slugs, WARM_S)
        found = {"quiet": _posted(sluice, agents, others, seconds)}
        say(f"  p50 {found['quiet'].p50:.0f} ms; beside a leaderless and a deleted stream")
        with Connection(node.amqp_url) as connection:
            connection.default_channel.queue_delete(f"raw.{deleted}")
        with leaderless(node, f"raw.{headless}"):
            found["beside"] = _posted(sluice, agents, others, seconds)
            say(f"  p50 {found['beside'].p50:.0f} ms; with a new dispatcher")
            sluice.started.stop("dispatcher")
            sluice.start_dispatcher()
            _posted(sluice, agents, others, WARM_S)
            found["new dispatcher"] = _posted(sluice, agents, others, seconds)
            say(f"  p50 {found['new dispatcher'].p50:.0f} ms")
    return {
        "customers": CUSTOMERS,
        "batches_per_s": BATCHES_PER_S,
        "batch": KIND.name,
        "seconds_each": seconds,
        "accepted_to_committed_ms": {name: asdict(latency) for name, latency in found.items()},
        "verdicts": [_verdict(name, found[name], found["quiet"]) for name in ("beside", "new dispatcher")],
    }


def _posted(sluice: Sluice, agents: Generator, slugs: list[str], seconds: float) -> Latency:
    """From accepted to committed, of batches that these customers posted for so long."""
    sluice.slugs = slugs
    since, began_us = sluice.ledger.last_window(), now_us()
    events_per_s = float(BATCHES_PER_S * KIND.events)
    agents.post(
        sluice.targets(), connections=CONNECTIONS, events_per_s=events_per_s, seconds=seconds, repeat=True
    )
    answer = agents.answered(seconds + ANSWER_S)
    if answer is None:
        raise NotCounted("the agents were not answered")
    ended_us, deadline = now_us(), time.monotonic() + DRAINED_S
    while sluice.ledger.batches(began_us) < answer["accepted"]:
        sluice.started.check()
        if time.monotonic() > deadline:
            raise NotCounted("not all batches that were accepted were committed")
        time.sleep(0.2)
    return sluice.ledger.latency(since, began_us, ended_us)


def _verdict(name: str, now: Latency, was: Latency) -> dict[str, Any]:
    found = (
        f"p50 {now.p50:.0f} ms, {was.p50:.0f} ms quiet: {now.p50 / was.p50:.2f} times;"
        f" p99 {now.p99:.0f} ms, {was.p99:.0f} ms quiet"
    )
    return verdict(f"{name}: p50 within {WORSE} times of quiet", found, holds=now.p50 <= WORSE * was.p50)


if __name__ == "__main__":
    sys.exit(prepare.main("broken-streams", __doc__ or "", measure))

"""Bodies that do not come: `make bench-slow-bodies`.

2,000 connections with a key whose bodies trickle, and 2,000 without a key whose bodies never come and who
come again when they are refused, beside agents that post 100 batches a second to the receiver itself. What a
request's acknowledgement takes without them and beside them.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from bench.installation.sluice import Sluice
from bench.load import generator
from bench.load.generator import Generator
from bench.load.posting import Target
from bench.load.workload import Kind
from bench.measuring.measure import NotCounted
from bench.places import ROOT
from bench.situations import prepare
from bench.situations.prepare import say, verdict

CROWD = 2_000
BATCHES_PER_S = 100
KIND = Kind(events=100)
CONNECTIONS = 16
SETTLE_S = 5.0
ANSWER_S = 120.0


def measure(sluice: Sluice, quick: bool) -> dict[str, Any]:
    seconds = 10.0 if quick else 30.0
    sluice.add_customers("agents", "slow")
    sluice.slugs = ["agents", "slow"]
    sluice.start_receiver()
    sluice.start_worker(2)
    sluice.start_dispatcher()
    agents_target, slow_target = sluice.targets()
    with generator.running() as agents:
        agents.prepare(KIND, int(BATCHES_PER_S * seconds))
        _post(agents, agents_target, SETTLE_S)
        quiet = _post(agents, agents_target, seconds)
        with _crowd(slow_target) as crowd:
            beside = _post(agents, agents_target, seconds)
        refused = crowd["refused"]
    now, was = beside["latency_ms"], quiet["latency_ms"]
    say(f"  p99 {was['p99']:.1f} ms without, {now['p99']:.1f} ms beside them; {refused:,} strangers refused")
    found = {"crowd": CROWD, "batch": KIND.name, "batches_per_s": BATCHES_PER_S, "seconds_each": seconds}
    found |= {"quiet_ack_ms": was, "beside_ack_ms": now, "strangers_refused": refused}
    found |= {"refused": beside["retried"], "problems": beside["problems"]}
    promise = "every batch is accepted at its first try"
    words = f"{beside['retried']} refused; p99 {now['p99']:.1f} ms beside, {was['p99']:.1f} ms without"
    holds = not beside["retried"] and not beside["problems"]
    return found | {"verdicts": [verdict(promise, words, holds=holds)]}


def _post(agents: Generator, target: Target, seconds: float) -> dict[str, Any]:
    events_per_s = float(BATCHES_PER_S * KIND.events)
    agents.post([target], connections=CONNECTIONS, events_per_s=events_per_s, seconds=seconds, repeat=True)
    answer = agents.answered(seconds + ANSWER_S)
    if answer is None:
        raise NotCounted("the agents were not answered")
    return answer


@contextlib.contextmanager
def _crowd(target: Target) -> Iterator[dict[str, Any]]:
    """Yields what is filled in when it has gone: how many strangers were refused."""
    command = [
        sys.executable,
        "-m",
        "bench.load.trickle",
        target.host,
        str(target.port),
        target.key,
        str(CROWD),
    ]
    process = subprocess.Popen(
        ["nice", "-n", "10", *command], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    told: dict[str, Any] = {}
    try:
        if not process.stdout.readline():
            raise NotCounted("the crowd could not be opened")
        yield told
        process.stdin.close()
        told |= json.loads(process.stdout.readline())
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(prepare.main("slow-bodies", __doc__ or "", measure))

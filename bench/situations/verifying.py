"""Proving the books against the stream: `make bench-verify`.

Many small batches of one customer are taken and committed; then, with nothing else at work, `flask verify`
reads the raw stream again and holds each against the ledger. What the command takes to start is measured
apart, and left out.
"""

import json
import sys
import time
from typing import Any

from bench.installation.sluice import Sluice
from bench.load import generator
from bench.load.generator import Generator
from bench.load.workload import Kind
from bench.measuring.measure import NotCounted
from bench.situations import prepare
from bench.situations.prepare import now_us, say, verdict

BATCHES, QUICK_BATCHES = 200_000, 40_000
PREPARED = 2_000  # bodies, posted in a circle under new batch ids
KIND = Kind(events=1)
CONNECTIONS = 32
LEAST_PER_S = 20_000.0
POSTED_S, COMMITTED_S = 900.0, 900.0
SLUG = "verified"


def measure(sluice: Sluice, quick: bool) -> dict[str, Any]:
    batches = QUICK_BATCHES if quick else BATCHES
    sluice.add_customers(SLUG)
    sluice.slugs = [SLUG]
    sluice.start_receiver()
    sluice.start_worker(2)
    sluice.start_dispatcher()
    with generator.running() as agents:
        accepted = _posted(sluice, agents, batches)
    shape = sluice.ledger.window_shape(0)
    sluice.started.stop()
    start_s = min(_verify(sluice, "--from", str(accepted))[0] for _ in range(3))
    took_s, proof = _verify(sluice)
    if proof["read"] != accepted or proof["differences"]:
        raise NotCounted(f"{accepted} batches were accepted; verify says {proof}")
    per_s = accepted / (took_s - start_s)
    say(f"  {accepted:,} batches in {took_s - start_s:.1f} s, and {start_s:.1f} s to start")
    words = f"{per_s:,.0f} batches/s"
    return {
        "batches": accepted,
        "batch": KIND.name,
        "batches_a_window": shape["batches_each"],
        "start_s": start_s,
        "verify_s": took_s - start_s,
        "batches_per_s": per_s,
        "verdicts": [verdict(f"{LEAST_PER_S:,.0f} batches/s", words, holds=per_s >= LEAST_PER_S)],
    }


def _posted(sluice: Sluice, agents: Generator, batches: int) -> int:
    """Post so many and wait until all of them are committed; how many there are."""
    agents.prepare(KIND, PREPARED)
    began_us = now_us()
    agents.post(sluice.targets(), connections=CONNECTIONS, batches=batches, repeat=True)
    answer = agents.answered(POSTED_S)
    if answer is None or answer["accepted"] != batches:
        raise NotCounted(f"{batches} batches were posted, answered: {answer}")
    deadline = time.monotonic() + COMMITTED_S
    while sluice.ledger.batches(began_us) < batches:
        sluice.started.check()
        if time.monotonic() > deadline:
            raise NotCounted("not all batches were committed")
        time.sleep(0.5)
    return batches


def _verify(sluice: Sluice, *more: str) -> tuple[float, dict[str, Any]]:
    """Seconds of the command, and what it says."""
    began = time.monotonic()
    said = sluice.started.run("-m", "flask", "--app", "webapp", "verify", SLUG, "--json", *more, check=False)
    took_s = time.monotonic() - began
    try:
        return took_s, json.loads(said.stdout)
    except ValueError:
        raise NotCounted(f"flask verify said nothing: {said.stderr[-500:]}") from None


if __name__ == "__main__":
    sys.exit(prepare.main("verify", __doc__ or "", measure))

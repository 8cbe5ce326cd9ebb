"""Many customers: `make bench-many`.

2,000 customers on one dispatcher and one worker, of which 100 are active at a time; every few seconds others
are. The lag of every batch, the memory of every process, and how long a start and the broker's restart take.
"""

import random
import sys
import time
from dataclasses import asdict
from typing import Any

from bench.installation.sluice import Sluice
from bench.load import generator
from bench.load.generator import Generator
from bench.load.workload import Kind
from bench.measuring import account
from bench.measuring.measure import NotCounted
from bench.situations import prepare
from bench.situations.prepare import now_us, say, verdict
from deploy.local import rabbitmq

CUSTOMERS, QUICK_CUSTOMERS = 2_000, 400
ACTIVE = 100
BATCHES_PER_S = 100  # one a second for each active customer
KIND = Kind(events=100)
CONNECTIONS = 16
TURN_S = 10.0  # so long are the same customers active
ADDED_AT_ONCE = 250
MOST_LAG_MS = 30_000.0
MOST_START_S = 60.0
ANSWER_S = 120.0
SEED = 7


def measure(sluice: Sluice, quick: bool) -> dict[str, Any]:
    count, turns = (QUICK_CUSTOMERS, 2) if quick else (CUSTOMERS, 6)
    chosen = random.Random(SEED)
    slugs = [f"many-{at}" for at in range(count)]
    added_s = _add(sluice, slugs)
    say(f"{count} customers were added in {added_s:.0f} s; starting")
    with generator.running() as agents:
        agents.prepare(KIND, int(BATCHES_PER_S * TURN_S) + 10 * ACTIVE)
        start_s = _start(sluice, agents, slugs, chosen)
        say(f"  at work after {start_s:.1f} s; {turns} turns of {TURN_S:.0f} s with {ACTIVE} active each")
        roles = sluice.roles()
        began_us, began, before = now_us(), time.monotonic(), account.by_role(roles)
        answers = [_turn(sluice, agents, chosen.sample(slugs, ACTIVE)) for _ in range(turns)]
        ended_us, lasted = now_us(), time.monotonic() - began
        used = account.since(before, account.by_role(roles))
        accepted = sum(answer["accepted"] for answer in answers)
        _until_committed(sluice, accepted, began_us)
        lag = sluice.ledger.latency(0, began_us, ended_us)
        memory = sluice.peak_memory()
        say(f"  lag p99.9 {lag.p999:,.0f} ms; idle")
        idle = _idle(sluice, 10.0)
        say("  restarting the broker")
        restart = _restart(sluice, agents, slugs, chosen)
        say(f"  at work again after {restart['at_work_s']:.1f} s")
    found = {
        "customers": count,
        "active": ACTIVE,
        "batches_per_s": BATCHES_PER_S,
        "batch": KIND.name,
        "added_s": added_s,
        "start_s": start_s,
        "lag_ms": asdict(lag),
        "retried": sum(answer["retried"] for answer in answers),
        "ack_ms": [answer["latency_ms"] for answer in answers],
        "peak_memory": memory,
        "cores_used": {role: one.cpu_s / lasted for role, one in used.items()},
        "idle_cores": idle,
        "broker_restart": restart,
    }
    return found | {"verdicts": _verdicts(found)}


def _add(sluice: Sluice, slugs: list[str]) -> float:
    began = time.monotonic()
    for first in range(0, len(slugs), ADDED_AT_ONCE):
        sluice.add_customers(*slugs[first : first + ADDED_AT_ONCE])
    return time.monotonic() - began


def _start(sluice: Sluice, agents: Generator, slugs: list[str], chosen: random.Random) -> float:
    """Seconds until a batch of each of so many customers is committed, from the start of all processes."""
    began, began_us = time.monotonic(), now_us()
    sluice.start_worker(2)
    sluice.start_dispatcher()
    sluice.start_receiver()
    _one_each(sluice, agents, chosen.sample(slugs, ACTIVE), began_us)
    return time.monotonic() - began


def _restart(sluice: Sluice, agents: Generator, slugs: list[str], chosen: random.Random) -> dict[str, Any]:
    """Seconds from stopping the broker until it is up again, and until every customer's batch is through."""
    folder = sluice.servers.folder / "rabbitmq"
    began, began_us = time.monotonic(), now_us()
    rabbitmq.stop(folder)
    stopped_s = time.monotonic() - began
    rabbitmq.start(folder)
    up_s = time.monotonic() - began
    answer = _one_each(sluice, agents, chosen.sample(slugs, ACTIVE), began_us)
    at_work_s = time.monotonic() - began
    return {"stopped_s": stopped_s, "up_s": up_s, "at_work_s": at_work_s, "retried": answer["retried"]}


def _one_each(sluice: Sluice, agents: Generator, slugs: list[str], since_us: int) -> dict[str, Any]:
    sluice.slugs = slugs
    agents.post(sluice.targets(), connections=CONNECTIONS, batches=len(slugs), repeat=True)
    answer = _answer(agents, ANSWER_S)
    _until_committed(sluice, len(slugs), since_us)
    return answer


def _turn(sluice: Sluice, agents: Generator, slugs: list[str]) -> dict[str, Any]:
    sluice.slugs = slugs
    agents.post(
        sluice.targets(),
        connections=CONNECTIONS,
        events_per_s=float(BATCHES_PER_S * KIND.events),
        seconds=TURN_S,
        repeat=True,
    )
    return _answer(agents, TURN_S + ANSWER_S)


def _answer(agents: Generator, timeout_s: float) -> dict[str, Any]:
    answer = agents.answered(timeout_s)
    if answer is None or answer["problems"]:
        raise NotCounted(f"the agents were not answered: {answer and answer['problems']}")
    return answer


def _until_committed(sluice: Sluice, batches: int, since_us: int) -> None:
    deadline = time.monotonic() + ANSWER_S
    while (found := sluice.ledger.batches(since_us)) < batches:
        sluice.started.check()
        if time.monotonic() > deadline:
            raise NotCounted(f"{batches} batches were accepted, {found} committed after {ANSWER_S:.0f} s")
        time.sleep(0.1)


def _idle(sluice: Sluice, seconds: float) -> dict[str, float]:
    roles = sluice.roles()
    before = account.by_role(roles)
    time.sleep(seconds)
    return {role: one.cpu_s / seconds for role, one in account.since(before, account.by_role(roles)).items()}


def _verdicts(found: dict[str, Any]) -> list[dict[str, Any]]:
    lag, start, restart = found["lag_ms"]["p999"], found["start_s"], found["broker_restart"]["at_work_s"]
    return [
        verdict("lag p99.9 under 30 s", f"{lag / 1e3:.2f} s", holds=lag < MOST_LAG_MS),
        verdict("at work within 60 s of the start", f"{start:.1f} s", holds=start < MOST_START_S),
        verdict(
            "at work within 60 s of the broker's restart", f"{restart:.1f} s", holds=restart < MOST_START_S
        ),
    ]


if __name__ == "__main__":
    sys.exit(prepare.main("many", __doc__ or "", measure))

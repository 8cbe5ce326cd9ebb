"""A noisy neighbour: `make bench-neighbour`.

A victim posts 50 batches a second, first alone, then beside a customer that offers 50 times as many events
as the machine can take, over many connections, and honours no refusal. nginx stands in front of the receiver
with the configuration in deploy/nginx; workers are shared, no limits are set.
"""

import sys
import time
from dataclasses import asdict
from typing import Any

from bench.installation import nginx
from bench.installation.sluice import Sluice
from bench.load import generator
from bench.load.generator import Generator
from bench.load.posting import Target
from bench.load.workload import Kind
from bench.measuring import account
from bench.measuring.figures import LOAD
from bench.measuring.measure import Measurement, NotCounted
from bench.situations import prepare
from bench.situations.prepare import now_us, say, verdict

VICTIM_PER_S = 50
VICTIM = Kind(events=100)
CONNECTIONS = 8  # of the victim's agents
FLOOD = Kind(events=2_000)
FLOOD_BODIES = 2_000  # posted in a circle under new batch ids
TIMES = 50
OFFERED = 1.04 * TIMES  # times what was sustained
MOST_PER_S = 320  # batches made ready to find out what the machine takes
WARM_S = 8.0
TAKE_S = 8.0
WORSE = 1.5  # most that the victim's p99.9 may grow
MOST_MS = 1_000.0
ANSWER_S = 60.0
DRAINED_S = 300.0


def measure(sluice: Sluice, quick: bool) -> dict[str, Any]:
    return measure_for(sluice, 15.0 if quick else 60.0, brief=quick)


def measure_for(sluice: Sluice, seconds: float, *, brief: bool) -> dict[str, Any]:
    """Alone for so many seconds, and beside the neighbour; `brief` halves the neighbour's connections,
    and the time in which it is found out what the machine takes.
    """
    sluice.add_customers("victim", "neighbour")
    sluice.start_receiver()
    sluice.start_worker(2)
    sluice.start_dispatcher()
    # The neighbour stands for other machines: its posting must not take the time of what is measured.
    with (
        nginx.running(sluice) as (port, proxy_pid),
        generator.running() as agents,
        generator.running(nice=19) as flood,
    ):
        flood.prepare(FLOOD, FLOOD_BODIES)
        take = _take(sluice, agents, TAKE_S / 2 if brief else TAKE_S)
        sluice.port = port  # from here on all post to nginx, which bounds what one key may
        say(f"the machine takes {take:,.0f} events/s; the victim alone for {seconds:.0f} s")
        agents.prepare(VICTIM, int(VICTIM_PER_S * (seconds + WARM_S + 2)) * 2)
        quiet = _victim(sluice, agents, seconds)
        say(f"  p99.9 {quiet['way']['accepted_to_committed']['p999']:.0f} ms; beside the neighbour")
        connections = _connections(brief)
        flood.post(
            [_target(sluice, "neighbour")],
            connections=connections,
            events_per_s=OFFERED * take,
            repeat=True,
            honours=False,
        )
        time.sleep(WARM_S)
        began_us, began, before = now_us(), time.monotonic(), _cpu(sluice, agents, flood, proxy_pid)
        beside = _victim(sluice, agents, seconds)
        ended_us, lasted, after = now_us(), time.monotonic() - began, _cpu(sluice, agents, flood, proxy_pid)
        committed = sluice.ledger.deposited("neighbour", began_us, ended_us)
        flood.stop()
        answer = flood.answered(ANSWER_S)
        if answer is None:
            raise NotCounted("the neighbour was not answered")
        say(f"  p99.9 {beside['way']['accepted_to_committed']['p999']:.0f} ms")
    offered = answer["accepted"] + answer["refused"] + answer["broken"]
    per_s = FLOOD.events / answer["elapsed_s"]
    neighbour = {
        "batch": FLOOD.name,
        "connections": connections,
        "offered_events_per_s": offered * per_s,
        "accepted_events_per_s": answer["accepted"] * per_s,
        "refused": answer["refused"],
        "broken": answer["broken"],
        "committed_events_per_s": committed["events"] / lasted,
        "problems": answer["problems"],
        "ack_ms": answer["latency_ms"],
    }
    cores = {role: used.cpu_s / lasted for role, used in account.since(before, after).items()}
    found = {
        "seconds_each": seconds,
        "machine_takes_events_per_s": take,
        "offered_times": offered * per_s / take,
        "victim": {"batch": VICTIM.name, "batches_per_s": VICTIM_PER_S, "quiet": quiet, "beside": beside},
        "neighbour": neighbour,
        "cores_used": cores,
    }
    return found | {"verdicts": _verdicts(found)}


def _take(sluice: Sluice, agents: Generator, seconds: float) -> float:
    """Events/s that the machine sustains from HTTP to commit, of the neighbour's batches."""
    sluice.slugs = ["neighbour"]
    agents.prepare(FLOOD, int(MOST_PER_S * (seconds + WARM_S + 2)))
    run = Measurement(subject=sluice, generator=agents, name="what the machine takes").steady(
        headroom=150_000, warm_s=WARM_S, seconds=seconds
    )
    return run.events_per_s


def _victim(sluice: Sluice, agents: Generator, seconds: float) -> dict[str, Any]:
    """The victim's figures at its rate, the first seconds left out."""
    agents.post(
        [_target(sluice, "victim")],
        connections=CONNECTIONS,
        events_per_s=float(VICTIM_PER_S * VICTIM.events),
        seconds=WARM_S + seconds,
    )
    began_us = now_us()
    answer = agents.answered(WARM_S + seconds + ANSWER_S)
    if answer is None:
        raise NotCounted("the victim was not answered")
    sent = int(VICTIM_PER_S * (WARM_S + seconds))
    _until_committed(sluice, answer["accepted"], began_us)
    way = sluice.ledger.way("victim", began_us + int(WARM_S * 1e6), began_us + int((WARM_S + seconds) * 1e6))
    return {
        "posted": sent,
        "accepted_first_time": answer["accepted"] - answer["retried"],
        "accepted": answer["accepted"],
        "retried": answer["retried"],
        "problems": answer["problems"],
        "sent_late_ms": answer["latest_s"] * 1e3,
        "ack_ms": answer["latency_ms"],
        "way": {name: asdict(latency) for name, latency in way.items()},
    }


def _until_committed(sluice: Sluice, batches: int, since_us: int) -> None:
    deadline = time.monotonic() + DRAINED_S
    while sluice.ledger.deposited("victim", since_us, now_us())["batches"] < batches:
        sluice.started.check()
        if time.monotonic() > deadline:
            raise NotCounted("the victim's batches were not all committed")
        time.sleep(0.5)


def _verdicts(found: dict[str, Any]) -> list[dict[str, Any]]:
    quiet, beside = found["victim"]["quiet"], found["victim"]["beside"]
    was = quiet["way"]["accepted_to_committed"]["p999"]
    now = beside["way"]["accepted_to_committed"]["p999"]
    refused = beside["retried"]
    times = found["offered_times"]
    return [
        verdict(
            f"p99.9 from accepted to committed within {WORSE} times of quiet",
            f"{now:.0f} ms beside, {was:.0f} ms alone: {now / was:.2f} times",
            holds=now <= WORSE * was,
        ),
        verdict(f"p99.9 under {MOST_MS:.0f} ms", f"{now:.0f} ms", holds=now < MOST_MS),
        verdict(
            "all of the victim's batches accepted at the first try",
            f"{beside['accepted']} accepted, {refused} tried again, problems: {beside['problems']}",
            holds=not refused and not beside["problems"],
        ),
        verdict(
            f"{TIMES} times as much offered as the machine can take",
            f"{times:.0f} times",
            holds=times >= TIMES,
        ),
    ]


def _connections(brief: bool) -> int:
    return 256 if brief else 512


def _target(sluice: Sluice, slug: str) -> Target:
    sluice.slugs = [slug]
    return sluice.targets()[0]


def _cpu(sluice: Sluice, agents: Generator, flood: Generator, proxy_pid: int) -> dict[str, account.Used]:
    roles = {**sluice.roles(), LOAD: [agents.pid], "neighbour's load": [flood.pid], "nginx": [proxy_pid]}
    return account.by_role(roles)


if __name__ == "__main__":
    sys.exit(prepare.main("neighbour", __doc__ or "", measure))

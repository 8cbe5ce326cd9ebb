"""A slow database: `make bench-slow-database`.

100 batches a second, first on the database as it is, then with 50 ms added to each of its answers: what an
acknowledgement takes, how large the windows get, the lag, and whether any window had to be rung again.
"""

import contextlib
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from sqlalchemy import make_url

from bench.installation.sluice import Sluice
from bench.load import generator
from bench.load.generator import Generator
from bench.load.workload import Kind
from bench.measuring.measure import NotCounted
from bench.places import ROOT
from bench.situations import prepare
from bench.situations.prepare import now_us, say, verdict
from deploy.local import ports

DELAY_S = 0.05
BATCHES_PER_S = 100
KIND = Kind(events=100)
CONNECTIONS = 16
WARM_S = 5.0
MOST_TIMES = 2.0  # of the quiet acknowledgement's p99
ANSWER_S = 60.0
DRAINED_S = 180.0


def measure(sluice: Sluice, quick: bool) -> dict[str, Any]:
    return measure_for(sluice, 10.0 if quick else 40.0)


def measure_for(sluice: Sluice, seconds: float) -> dict[str, Any]:
    """As it is for so many seconds, and as long with the delay."""
    url = make_url(sluice.started.environment["DATABASE_URL"])
    assert url.port is not None
    with _proxy(url.port) as (port, delay), generator.running() as agents:
        slow = url.set(host=ports.HOST, port=port).render_as_string(hide_password=False)
        sluice.started.environment = {**sluice.started.environment, "DATABASE_URL": slow}
        sluice.add_customers("agents")
        sluice.slugs = ["agents"]
        sluice.start_receiver()
        sluice.start_worker(2)
        sluice.start_dispatcher()
        agents.prepare(KIND, int(BATCHES_PER_S * (WARM_S + seconds)))
        quiet = _posted(sluice, agents, seconds)
        say(f"  p99 {quiet['ack_ms']['p99']:.1f} ms; {DELAY_S * 1e3:.0f} ms later")
        delay(DELAY_S)
        slow_run = _posted(sluice, agents, seconds)
        say(f"  p99 {slow_run['ack_ms']['p99']:.1f} ms")
        delay(0.0)
        sluice.check(sluice.committed())
    found = {
        "batch": KIND.name,
        "batches_per_s": BATCHES_PER_S,
        "seconds_each": seconds,
        "added_ms": DELAY_S * 1e3,
        "quiet": quiet,
        "slow": slow_run,
    }
    return found | {"verdicts": _verdicts(quiet, slow_run)}


def _posted(sluice: Sluice, agents: Generator, seconds: float) -> dict[str, Any]:
    since, began_us = sluice.ledger.last_window(), now_us()
    agents.post(
        sluice.targets(),
        connections=CONNECTIONS,
        events_per_s=float(BATCHES_PER_S * KIND.events),
        seconds=WARM_S + seconds,
        repeat=True,
    )
    answer = agents.answered(WARM_S + seconds + ANSWER_S)
    if answer is None:
        raise NotCounted("the agents were not answered")
    deadline = time.monotonic() + DRAINED_S
    while sluice.ledger.batches(began_us) < answer["accepted"]:
        sluice.started.check()
        if time.monotonic() > deadline:
            raise NotCounted("not all batches were committed")
        time.sleep(0.2)
    warm_us = began_us + int(WARM_S * 1e6)
    return {
        "accepted": answer["accepted"],
        "refused": answer["retried"],
        "problems": answer["problems"],
        "ack_ms": answer["latency_ms"],
        "lag_ms": asdict(sluice.ledger.latency(since, warm_us, now_us())),
        "windows": sluice.ledger.window_shape(since),
        "rung_again": sluice.ledger.rung_again(since),
    }


def _verdicts(quiet: dict[str, Any], slow: dict[str, Any]) -> list[dict[str, Any]]:
    was, now = quiet["ack_ms"]["p99"], slow["ack_ms"]["p99"]
    small, large = quiet["windows"]["batches_each"], slow["windows"]["batches_each"]
    return [
        verdict(
            f"reception does not notice: none refused, p99 within {MOST_TIMES:.0f} times",
            f"{slow['refused']} refused, {now:.1f} ms, {was:.1f} ms before: {now / was:.2f} times",
            holds=not slow["refused"] and not slow["problems"] and now <= MOST_TIMES * was,
        ),
        verdict("windows grow", f"{large:.1f} batches each, {small:.1f} before", holds=large > small),
        verdict(
            "nothing is rung again, all is committed once",
            f"{slow['rung_again']} rung again",
            holds=not slow["rung_again"],
        ),
    ]


@contextlib.contextmanager
def _proxy(port: int) -> Iterator[tuple[int, Any]]:
    """In front of the database: its port, and a function that sets the delay in seconds."""
    command = [sys.executable, "-m", "bench.load.delaying", ports.HOST, str(port)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    said, heard = process.stdin, process.stdout

    def delay(seconds: float) -> None:
        said.write(f"{seconds}\n")
        said.flush()

    try:
        yield int(heard.readline()), delay
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    sys.exit(prepare.main("slow-database", __doc__ or "", measure))

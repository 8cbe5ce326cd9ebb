"""An idle crowd: `make bench-crowd`.

20,000 idle keep-alive connections while agents post 100 batches a second: on the receiver itself, and on
nginx in front of it with the configuration in deploy/nginx. What a request's acknowledgement takes with and
without the crowd, and what an idle connection costs in memory.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bench.installation import nginx
from bench.installation.sluice import Sluice
from bench.load import generator
from bench.load.generator import Generator
from bench.load.posting import Target
from bench.load.workload import Kind
from bench.measuring import account
from bench.measuring.measure import NotCounted
from bench.places import ROOT
from bench.situations import prepare
from bench.situations.prepare import say, verdict

CROWD = 20_000
PROCESSES = 4
BATCHES_PER_S = 100
KIND = Kind(events=100)
CONNECTIONS = 16
MOST_TIMES = 2.0
SETTLE_S = 8.0
ANSWER_S = 60.0
# gunicorn deals connections out unevenly; each of two workers may get more than half.
RECEIVER = {"SLUICE_HTTP_CONNECTIONS": str(int(CROWD * 0.75))}


def measure(sluice: Sluice, quick: bool) -> dict[str, Any]:
    # Idle connections are closed after 75 s: less, with the time that it takes to open them.
    seconds = 10.0 if quick else 40.0
    sluice.add_customers("agents")
    sluice.slugs = ["agents"]
    sluice.started.environment = {**sluice.started.environment, **RECEIVER}
    sluice.start_receiver()
    sluice.start_worker(2)
    sluice.start_dispatcher()
    with generator.running() as agents, nginx.running(sluice) as (proxy_port, proxy_pid):
        proxy = replace(sluice.targets()[0], port=proxy_port)
        agents.prepare(KIND, int(BATCHES_PER_S * seconds))
        receiver = sluice.started.pid("receiver")
        alone = _beside(agents, sluice.targets()[0], [receiver], seconds)
        proxied = _beside(agents, proxy, [receiver, proxy_pid], seconds)
    found = {"crowd": CROWD, "batch": KIND.name, "batches_per_s": BATCHES_PER_S, "seconds_each": seconds}
    found |= {"receiver": alone, "nginx": proxied}
    return found | {"verdicts": _verdicts(proxied)}


def _beside(agents: Generator, target: Target, roots: list[int], seconds: float) -> dict[str, Any]:
    _post(agents, target, SETTLE_S)  # what was before has passed, and every process has met the customer
    quiet = _post(agents, target, seconds)
    before = _memory(roots)
    with _crowd(target) as crowd:
        opened_s = max(one["seconds"] for one in crowd.opened)
        say(f"{CROWD} idle connections after {opened_s:.0f} s")
        after = _memory(roots)
        beside = _post(agents, target, seconds)
    say(
        f"  p99 {quiet['latency_ms']['p99']:.1f} ms without, {beside['latency_ms']['p99']:.1f} ms beside them"
    )
    return {
        "opened_s": opened_s,
        "still_open": sum(crowd.still_open),
        "bytes_per_connection": (after - before) / CROWD,
        "quiet_ack_ms": quiet["latency_ms"],
        "beside_ack_ms": beside["latency_ms"],
        "refused": beside["retried"],
        "problems": beside["problems"],
    }


def _post(agents: Generator, target: Target, seconds: float) -> dict[str, Any]:
    agents.post(
        [target],
        connections=CONNECTIONS,
        events_per_s=float(BATCHES_PER_S * KIND.events),
        seconds=seconds,
        repeat=True,
    )
    answer = agents.answered(seconds + ANSWER_S)
    if answer is None:
        raise NotCounted("the agents were not answered")
    return answer


def _verdicts(found: dict[str, Any]) -> list[dict[str, Any]]:
    was, now = found["quiet_ack_ms"]["p99"], found["beside_ack_ms"]["p99"]
    return [
        verdict(
            f"p99 acknowledgement within {MOST_TIMES:.0f} times of that without the crowd",
            f"{now:.1f} ms beside, {was:.1f} ms without: {now / was:.2f} times",
            holds=now <= MOST_TIMES * was,
        ),
        verdict(
            "no refusal, and the crowd stays",
            f"{found['refused']} refused, {found['still_open']} of {CROWD} still open",
            holds=not found["refused"] and not found["problems"] and found["still_open"] == CROWD,
        ),
    ]


class _Crowd:
    """Its processes; `still_open` is known when it has gone."""

    def __init__(self, target: Target) -> None:
        command = [
            sys.executable,
            "-m",
            "bench.load.idle",
            target.host,
            str(target.port),
            str(CROWD // PROCESSES),
        ]
        self._processes = [
            subprocess.Popen(
                [*command, f"127.0.0.{10 + at}"],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for at in range(PROCESSES)
        ]
        self.opened = [self._said(one) for one in self._processes]
        self.still_open: list[int] = []

    def leave(self) -> None:
        for one in self._processes:
            assert one.stdin is not None
            one.stdin.close()
        self.still_open = [self._said(one)["open"] for one in self._processes]

    def kill(self) -> None:
        for one in self._processes:
            one.kill()
            one.wait()

    @staticmethod
    def _said(one: "subprocess.Popen[str]") -> dict[str, Any]:
        assert one.stdout is not None
        line = one.stdout.readline()
        if not line:
            raise NotCounted("the crowd could not be opened")
        said: dict[str, Any] = json.loads(line)
        return said


@contextlib.contextmanager
def _crowd(target: Target) -> Iterator[_Crowd]:
    crowd = _Crowd(target)
    try:
        yield crowd
        crowd.leave()
    finally:
        crowd.kill()


def _memory(roots: list[int]) -> int:
    """Resident bytes of the processes and all their descendants now."""
    pids = {pid for root in roots for pid in account.descendants(root)}
    return sum(account.resident(pid) for pid in pids)


if __name__ == "__main__":
    sys.exit(prepare.main("crowd", __doc__ or "", measure))

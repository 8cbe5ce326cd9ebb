"""The load generator, a process of its own: `python -m bench.load.process` takes one JSON command a line.

    {"do": "prepare", "kind": {"shape": …, "form": …, "encoding": …, "events": …}, "batches": …}
        encodes bodies until so many are ready
    {"do": "post", "targets": […], "connections": …, "batches": n or null, "seconds": s or null,
     "events_per_s": r or null, "headroom": e or null, "repeat": b, "honours": b}
        posts them, again and again with `repeat`, and what is refused later unless `honours` is false;
        meanwhile {"committed": e} says how many events are
        through, {"do": "stop"} ends it
Each command is answered by one line of JSON.
"""

import json
import os
import selectors
import sys
import time
import uuid
from collections import deque
from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import cycle, islice
from typing import Any

from bench.check.totals import Totals
from bench.load.posting import Poster, Target, request_of
from bench.load.workload import Kind, ReadyBody, Source, dealt

_SAMPLE_S = 0.25
_PATIENCE_S = 0.1
_MOST_PROBLEMS = 3


class Load:
    """What is ready to be posted, of one kind at a time: memory is for what comes next."""

    def __init__(self, *, pool_events: int | None = None) -> None:
        self._pool_events = pool_events
        self._sources: dict[Kind, Source] = {}
        self.ready: deque[ReadyBody] = deque()
        self._kind = Kind()
        self.posted = 0  # of the kind, since the last round began

    def prepare(self, command: dict[str, Any]) -> dict[str, Any]:
        kind = Kind(**command["kind"])
        source = self._sources.get(kind) or self._sources.setdefault(kind, self._source(kind))
        if kind != self._kind:
            self._forget()
            self._kind = kind
        while self.ready and self.posted % kind.group:  # of traces that were posted in part
            self.ready.popleft()
            self.posted += 1
        began = time.monotonic()
        self.ready.extend(source.ready(max(0, command["batches"] - len(self.ready))))
        size = sum(len(one.body.content) for one in self.ready)
        return {"ready": len(self.ready), "bytes": size, "seconds": time.monotonic() - began}

    def post(self, command: dict[str, Any]) -> dict[str, Any]:
        """Post until the batches or the seconds are over, or stop is said; then wait for the last answers."""
        targets, kind = [Target(**one) for one in command["targets"]], self._kind
        if spread := len(targets) > 1 and kind.group > 1:
            self.ready = deque(dealt(self.ready, group=kind.group, customers=len(targets)))
        there = len(self.ready)
        endless = cycle(self.ready) if command["repeat"] else _each_once(self.ready)
        posting = Posting(targets, islice(endless, command["batches"]), kind.events, command)
        before = time.process_time()
        series = posting.run()
        tally = posting.poster.tally
        self.posted += there - len(self.ready)
        if spread:
            self._forget()
        # A kind whose traces lie in one batch alone, or nearly, has them cut at the batches' ends.
        counted = posting.totals if kind.group > 1 else replace(posting.totals, traces=None)
        return {
            **{name: value for name, value in asdict(tally).items() if name != "latencies_s"},
            "ran_out": posting.ran_out,
            "elapsed_s": posting.elapsed_s,
            "cpu_s": time.process_time() - before,
            "latency_ms": _percentiles(tally.latencies_s),
            "series": series,
            "totals": asdict(counted),
        }

    def _source(self, kind: Kind) -> Source:
        return Source(kind, pool_events=self._pool_events)

    def _forget(self) -> None:
        """Nothing of what was made ready is posted: the next round begins anew."""
        self.ready.clear()
        self.posted = 0
        if source := self._sources.get(self._kind):
            source.begin_anew()


class Posting:
    """One run: decides when the next request may go."""

    def __init__(
        self, targets: list[Target], bodies: Iterator[ReadyBody], events: int, command: dict[str, Any]
    ) -> None:
        self.poster = Poster(targets[0], command["connections"], honours=command["honours"])
        self._targets, self._bodies, self._events = targets, bodies, events
        self._events_per_s: float | None = command["events_per_s"]
        self._headroom: int | None = command["headroom"]
        self._seconds: float | None = command["seconds"]
        self._run = uuid.uuid4().hex[:12]
        self._sent = 0
        self._committed = 0
        self.totals = Totals()  # of what was sent, and is accepted when the run is over
        self._stopped = False
        self.ran_out = False
        self.elapsed_s = 0.0

    def run(self) -> list[tuple[float, int]]:
        """The accepted events over time, as (monotonic s, events)."""
        series = [(time.monotonic(), 0)]
        began = time.monotonic()
        self.poster.selector.register(sys.stdin.buffer, selectors.EVENT_READ, "commands")
        try:
            while not self._over(began) or self.poster.open:
                wait_s = self._feed(began)
                for _ in self.poster.turn(wait_s):
                    self._hear()
                if time.monotonic() - series[-1][0] >= _SAMPLE_S:
                    series.append((time.monotonic(), self.poster.tally.events))
        finally:
            self.poster.selector.unregister(sys.stdin.buffer)
            self.poster.close()
        self.elapsed_s = time.monotonic() - began
        return [*series, (time.monotonic(), self.poster.tally.events)]

    def _over(self, began: float) -> bool:
        late = self._seconds is not None and time.monotonic() - began >= self._seconds
        return self._stopped or late or self.ran_out or len(self.poster.tally.problems) > _MOST_PROBLEMS

    def _feed(self, began: float) -> float:
        """Hand the poster what is due; returns how long it may wait, s."""
        while self.poster.room > 0 and not self._over(began):
            sent = self._sent * self._events
            due_s = began + sent / self._events_per_s if self._events_per_s else 0.0
            if (wait_s := due_s - time.monotonic()) > 0:
                return min(wait_s, _PATIENCE_S)
            if self._headroom is not None and sent - self._committed >= self._headroom:
                return _PATIENCE_S
            body = next(self._bodies, None)
            if body is None:
                self.ran_out = True
                break
            target = self._targets[self._sent % len(self._targets)]
            self.totals += body.totals
            request = request_of(target, body.body, f"{self._run}-{self._sent}", self._events)
            request.due_s = due_s
            self._sent += 1
            self.poster.waiting.append(request)
        return _PATIENCE_S

    def _hear(self) -> None:
        # Unbuffered, as a buffer would hide a second line from the selector.
        for line in os.read(sys.stdin.fileno(), 65_536).splitlines():
            said = json.loads(line)
            self._committed = said.get("committed", self._committed)
            self._stopped = self._stopped or said.get("do") == "stop"


def _each_once(bodies: deque[ReadyBody]) -> Iterator[ReadyBody]:
    while bodies:
        yield bodies.popleft()


def _percentiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    if not ordered:
        return {}
    at = {"p50": 0.5, "p99": 0.99, "p999": 0.999}
    found = {name: ordered[min(int(len(ordered) * share), len(ordered) - 1)] for name, share in at.items()}
    return {name: value * 1e3 for name, value in {**found, "max": ordered[-1]}.items()}


def main() -> None:
    """Answer commands until the input ends."""
    load = Load()
    # Unbuffered: what is said during a run is read there.
    said = os.fdopen(os.dup(sys.stdin.fileno()), "rb", buffering=0)
    while line := said.readline():
        command = json.loads(line)
        if command.get("do") == "prepare":
            print(json.dumps(load.prepare(command)), flush=True)
        elif command.get("do") == "post":
            print(json.dumps(load.post(command)), flush=True)
        # Anything else came after its run was over.


if __name__ == "__main__":
    main()

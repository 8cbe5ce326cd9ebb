"""Everything that is measured of Sluice, in the order that needs the fewest starts."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from bench.installation.sluice import Sluice
from bench.load.generator import Generator
from bench.load.workload import Kind
from bench.measuring import account
from bench.measuring.figures import LOAD, Cost, Run
from bench.measuring.measure import Measurement, NotCounted, RanOut
from bench.suite.sizes import Sizes

CONNECTIONS = 32
_STALLED_S = 60.0
_HEADROOM_S = 1.5  # of the rate of the backlog: what may wait while a sustained rate is measured


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverRun:
    """Posting with nothing but receiver and broker: what is acknowledged after the broker's confirm."""

    requests_per_s: float
    events_per_s: float
    ack_ms: dict[str, float]
    cost: Cost
    retried: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BacklogRun:
    """A backlog worked off with no load beside it; the rate from the first commit seen to the last."""

    events: int
    seconds: float  # since dispatcher and worker were started
    events_per_s: float
    cost: Cost
    windows: dict[str, float]


@dataclass(kw_only=True)
class Ours:
    """Runs the measurements on one installation; `say` tells what is going on."""

    sluice: Sluice
    generator: Generator
    sizes: Sizes
    say: Callable[[str], None]

    def receive(self) -> ReceiverRun:
        """Fill the backlog."""
        sluice, kind = self.sluice, Kind()
        sluice.serve(1)
        sluice.start_receiver()
        self.generator.prepare(kind, self.sizes.backlog // kind.events)
        sluice.begin()
        roles = {**sluice.roles(), LOAD: [self.generator.pid]}
        before = account.by_role(roles)
        self.generator.post(
            sluice.targets(), connections=CONNECTIONS, batches=self.sizes.backlog // kind.events
        )
        answer = self._until_answered()
        cost = Cost.of(account.since(before, account.by_role(roles)), answer["events"])
        return ReceiverRun(
            requests_per_s=answer["accepted"] / answer["elapsed_s"],
            events_per_s=answer["events"] / answer["elapsed_s"],
            ack_ms=answer["latency_ms"],
            cost=cost,
            retried=answer["retried"],
        )

    def work_off(self) -> BacklogRun:
        """Work the backlog off, then check the books."""
        sluice, wanted = self.sluice, self.sizes.backlog
        began = time.monotonic()
        sluice.start_worker(2)
        sluice.start_dispatcher()
        commits = [(began, 0)]
        roles, before = sluice.roles(), account.by_role(sluice.roles())
        moved = began
        while commits[-1][1] < wanted:
            time.sleep(0.1)
            sluice.started.check()
            commits.append((time.monotonic(), sluice.committed()))
            moved = commits[-1][0] if commits[-1][1] != commits[-2][1] else moved
            if commits[-1][0] - moved > _STALLED_S:
                raise NotCounted(f"the backlog stands still at {commits[-1][1]} of {wanted} events")
        used = account.since(before, account.by_role(roles))
        sluice.check(wanted)
        first = next(point for point in commits if point[1])
        return BacklogRun(
            events=wanted,
            seconds=commits[-1][0] - began,
            events_per_s=(wanted - first[1]) / max(commits[-1][0] - first[0], 0.1),
            cost=Cost.of(used, wanted),
            windows=sluice.ledger.window_shape(sluice.since),
        )

    def sustain(self, backlog_rate: float) -> Run:
        """What goes from HTTP to commit for a minute, given the events a second of `work_off`."""
        sizes = self.sizes
        return self._steady(
            "sustained", backlog_rate, warm_s=sizes.sustained_warm_s, seconds=sizes.sustained_s
        )

    def pace(self, name: str, events_per_s: float, seconds: float) -> Run:
        """Cost and latency at a rate, over the customers that are served."""
        self._prepare(events_per_s, self.sizes.paced_warm_s + seconds + 2)
        run = self._measurement(name).paced(
            events_per_s=events_per_s, warm_s=self.sizes.paced_warm_s, seconds=seconds
        )
        # Those accepted in the measured time, the warm-up left out.
        first_us = time.time_ns() // 1_000 - int((time.monotonic() - run.lag_events[0][0]) * 1e6)
        ledger, since = self.sluice.ledger, self.sluice.since
        return replace(
            run,
            latency=ledger.latency(since, first_us, first_us + int(seconds * 1e6)),
            windows=ledger.window_shape(since),
        )

    def idle(self) -> dict[str, float]:
        """Cores that each role uses while nothing is posted."""
        roles = self.sluice.roles()
        before, began = account.by_role(roles), time.monotonic()
        time.sleep(self.sizes.idle_s)
        used = account.since(before, account.by_role(roles))
        return {role: one.cpu_s / (time.monotonic() - began) for role, one in used.items()}

    def customers(self, backlog_rate: float, events_per_s: float) -> dict[int, dict[str, Run]]:
        """At full speed and at the given rate, by number of customers."""
        found: dict[int, dict[str, Run]] = {}
        sizes = self.sizes
        for count in sizes.customers:
            self.sluice.serve(count)
            self.generator.prepare(Kind(), count)
            self._measurement("new customers").settle(batches=count)
            found[count] = {}
            name = f"{count} customers"
            if sizes.customers_full_s:
                found[count]["full"] = self._steady(
                    name, backlog_rate, warm_s=sizes.paced_warm_s, seconds=sizes.customers_full_s
                )
            paced = self.pace(f"{name}, paced", events_per_s, sizes.customers_paced_s)
            self.say(f"  {name} at half the rate: {paced.cost.stack_cpu_s:.1f} CPU s per million events")
            found[count]["paced"] = paced
        self.sluice.serve(1)
        return found

    def sides(self) -> list[Run]:
        """The same number of events in other formats and batch sizes, as fast as they go."""
        runs = []
        for form, encoding, size in self.sizes.side_kinds:
            kind = Kind(form=form, encoding=encoding, events=size)
            batches = self.sizes.side_events // size
            self.generator.prepare(kind, batches)
            run = self._measurement(kind.name).fixed(batches=batches)
            self.say(f"  {kind.name}: {run.cost.stack_cpu_s:.1f} CPU s per million events")
            runs.append(run)
        return runs

    def one_worker(self, backlog_rate: float) -> Run:
        """Full speed with one worker process in place of two."""
        self.sluice.started.stop("worker")
        self.sluice.start_worker(1)
        return self._steady(
            "1 worker process",
            backlog_rate,
            warm_s=2 * self.sizes.paced_warm_s,
            seconds=self.sizes.one_worker_s,
        )

    def alone(self, seconds: float) -> Run:
        """A whole installation from nothing to one sustained rate: for a second database."""
        self.sluice.serve(1)
        self.sluice.start_receiver()
        self.sluice.start_worker(2)
        self.sluice.start_dispatcher()
        return self._steady("sustained, SQLite", 400_000, warm_s=5.0, seconds=seconds)

    def _steady(self, name: str, backlog_rate: float, *, warm_s: float, seconds: float) -> Run:
        # A backlog is worked off faster than anything can be sustained, unless it was small and unlucky.
        headroom = max(100_000, int(_HEADROOM_S * backlog_rate))
        for factor in (1.1, 2.5):
            self._prepare(factor * backlog_rate, warm_s + seconds + _HEADROOM_S)
            try:
                run = self._measurement(name).steady(headroom=headroom, warm_s=warm_s, seconds=seconds)
                break
            except RanOut:
                if factor > 2:
                    raise
        self.say(f"  {name}: {run.events_per_s:,.0f} events/s")
        return replace(run, windows=self.sluice.ledger.window_shape(self.sluice.since))

    def _measurement(self, name: str) -> Measurement:
        return Measurement(subject=self.sluice, generator=self.generator, name=name, connections=CONNECTIONS)

    def _prepare(self, events_per_s: float, seconds: float) -> None:
        kind = Kind()
        self.generator.prepare(kind, int(events_per_s * seconds / kind.events) + 1)

    def _until_answered(self) -> dict[str, Any]:
        while (answer := self.generator.answered(1.0)) is None:
            self.sluice.started.check()
        if answer["problems"]:
            raise NotCounted(f"reception: {answer['problems']}")
        return answer

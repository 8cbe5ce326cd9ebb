"""Everything that is measured of Sluice, each on an installation whose processes are started when needed."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from bench.check.totals import Totals
from bench.installation.sluice import Sluice
from bench.load.generator import Generator
from bench.load.workload import SDK, Kind
from bench.measuring import account
from bench.measuring.figures import LOAD, Cost, Run
from bench.measuring.measure import Measurement, NotCounted, RanOut
from bench.suite.sizes import Sizes

CONNECTIONS = 32
_STALLED_S = 60.0
_HEADROOM_S = 1.5  # of the expected rate: what may wait while a sustained rate is measured
_LEAST_HEADROOM = 50_000
_LEAST_PER_S = 20_000.0
_WARM_BATCHES = 400  # enough for several windows, so that each worker process gets one
_GREETING = Kind(events=10)  # a first batch of a new customer
_GREETINGS = 3  # so many, for each process opens the customer's stream for itself


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverRun:
    """Posting with nothing but receiver and broker: what is acknowledged after the broker's confirm."""

    batch: str
    batch_events: int
    requests_per_s: float
    events_per_s: float
    ack_ms: dict[str, float]
    cost: Cost
    retried: int

    @property
    def receiver_cpu_ms(self) -> float:
        """Of a request."""
        return self.cost.cpu_s["receiver"] * self.batch_events / 1e3


@dataclass(frozen=True, slots=True, kw_only=True)
class BacklogRun:
    """A backlog worked off with no load beside it; the rate from the first commit seen to the last."""

    batch: str
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
    _backlog: Totals = field(default_factory=Totals)

    def receive(self, kind: Kind) -> ReceiverRun:
        """Fill the backlog."""
        sluice, batches = self.sluice, self.sizes.backlog // kind.events
        sluice.serve(1)
        sluice.start_receiver()
        self.generator.prepare(kind, batches)
        sluice.begin()
        roles = {**sluice.roles(), LOAD: [self.generator.pid]}
        before = account.by_role(roles)
        self.generator.post(sluice.targets(), connections=CONNECTIONS, batches=batches)
        answer = self._until_answered()
        self._backlog = Totals(**answer["totals"])
        return ReceiverRun(
            batch=kind.name,
            batch_events=kind.events,
            requests_per_s=answer["accepted"] / answer["elapsed_s"],
            events_per_s=answer["events"] / answer["elapsed_s"],
            ack_ms=answer["latency_ms"],
            cost=Cost.of(account.since(before, account.by_role(roles)), answer["events"]),
            retried=answer["retried"],
        )

    def work_off(self, kind: Kind) -> BacklogRun:
        """Work the backlog off, then check the books. Raises NotCounted when there is none."""
        sluice, wanted = self.sluice, self._backlog.events
        if not wanted:
            raise NotCounted("there is no backlog")
        began = time.monotonic()
        self._start()
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
        sluice.check(wanted, self._backlog)
        first = next(point for point in commits if point[1])
        return BacklogRun(
            batch=kind.name,
            events=wanted,
            seconds=commits[-1][0] - began,
            events_per_s=(wanted - first[1]) / max(commits[-1][0] - first[0], 0.1),
            cost=Cost.of(used, wanted),
            windows=sluice.ledger.window_shape(sluice.since),
        )

    def sustain(self, name: str, kind: Kind, expected_per_s: float, seconds: float) -> Run:
        """What goes from HTTP to commit as fast as it is taken, the lag being bounded, of one customer.

        `expected_per_s` is a guess of the rate: it says how many batches are made ready.
        """
        self._start()
        sizes, guess = self.sizes, max(expected_per_s, _LEAST_PER_S)
        for factor in (1.2, 3.0, 9.0):
            headroom = max(_LEAST_HEADROOM, int(_HEADROOM_S * guess))
            self._prepare(kind, factor * guess, sizes.warm_s + seconds + _HEADROOM_S)
            try:
                run = self._measurement(name).steady(headroom=headroom, warm_s=sizes.warm_s, seconds=seconds)
                break
            except RanOut:
                if factor > 8:
                    raise
        return replace(run, windows=self.sluice.ledger.window_shape(self.sluice.since))

    def pace(self, name: str, kind: Kind, events_per_s: float, seconds: float, *, customers: int = 1) -> Run:
        """Cost and latency at a rate, over so many customers."""
        self._start()
        self._serve(customers)
        self._prepare(kind, events_per_s, self.sizes.warm_s + seconds + 2, customers=customers)
        run = self._measurement(name).paced(
            events_per_s=events_per_s, warm_s=self.sizes.warm_s, seconds=seconds
        )
        # Those accepted in the measured time, the warm-up left out.
        first_us = time.time_ns() // 1_000 - int((time.monotonic() - run.lag_events[0][0]) * 1e6)
        ledger, since = self.sluice.ledger, self.sluice.since
        latency = ledger.latency(since, first_us, first_us + int(seconds * 1e6))
        return replace(run, latency=latency, windows=ledger.window_shape(since), customers=customers)

    def post(self, name: str, kind: Kind) -> Run:
        """So many events as fast as they are taken, until the last one is committed; some of them before, so
        that the processes have loaded what they need for the format.
        """
        self._start()
        self.generator.prepare(kind, _WARM_BATCHES)
        self._measurement(name).settle(batches=_WARM_BATCHES)
        batches = self.sizes.other_events // kind.events
        self.generator.prepare(kind, batches)
        return self._measurement(name).fixed(batches=batches)

    def idle(self) -> dict[str, float]:
        """Cores that each role uses while nothing is posted."""
        roles = self.sluice.roles()
        before, began = account.by_role(roles), time.monotonic()
        time.sleep(self.sizes.idle_s)
        used = account.since(before, account.by_role(roles))
        return {role: one.cpu_s / (time.monotonic() - began) for role, one in used.items()}

    def _start(self) -> None:
        """All processes, those that do not run yet."""
        sluice, living = self.sluice, self.sluice.started.running()
        self._serve(1)
        if "receiver" not in living:
            sluice.start_receiver()
        if "worker" not in living:
            sluice.start_worker(2)
        if "dispatcher" not in living:
            sluice.start_dispatcher()

    def _serve(self, customers: int) -> None:
        known = len(self.sluice.keys)
        self.sluice.serve(customers)
        if customers > known > 0:
            self.generator.prepare(_GREETING, _GREETINGS * customers)
            self._measurement("new customers").settle(batches=_GREETINGS * customers)

    def _measurement(self, name: str) -> Measurement:
        return Measurement(subject=self.sluice, generator=self.generator, name=name, connections=CONNECTIONS)

    def _prepare(self, kind: Kind, events_per_s: float, seconds: float, *, customers: int = 1) -> None:
        # With several customers, each posts whole groups.
        together = kind.group * customers if customers > 1 else 1
        batches = int(events_per_s * seconds / kind.events) + 1
        self.generator.prepare(kind, -(-batches // together) * together)

    def _until_answered(self) -> dict[str, Any]:
        while (answer := self.generator.answered(1.0)) is None:
            self.sluice.started.check()
        if answer["problems"]:
            raise NotCounted(f"reception: {answer['problems']}")
        return answer


def sized(events: int, *, encoding: str = "gzip", form: str = "otlp") -> Kind:
    """Spans of SDKs in other batches."""
    return replace(SDK, events=events, encoding=encoding, form=form)

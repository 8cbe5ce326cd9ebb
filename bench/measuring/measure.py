"""One measurement: post, watch what is committed, account for what it cost, have the books checked."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np

from bench.check.totals import Totals
from bench.load.generator import Generator
from bench.load.posting import Target
from bench.measuring import account
from bench.measuring.account import Used
from bench.measuring.figures import LOAD, Cost, Run

POLL_S = 0.1
STALLED_S = 60.0


class NotCounted(RuntimeError):
    """A run that went wrong: its figure does not count, and nothing after it is to be trusted."""


class RanOut(NotCounted):
    """The batches that were made ready were too few for the time."""


class Subject(Protocol):
    """What is measured: Sluice, or a peer. Its counts begin at `begin`."""

    def targets(self) -> list[Target]: ...

    def roles(self) -> dict[str, list[int]]: ...

    def begin(self) -> None: ...

    def committed(self) -> int:
        """Events committed since `begin`."""

    def check(self, events: int, totals: Totals | None) -> None:
        """Raises NotCounted when the accepted events since `begin` are not all booked or left other sums."""


@dataclass(kw_only=True)
class Measurement:
    """A run under way. Times are monotonic seconds, counts are events."""

    subject: Subject
    generator: Generator
    name: str
    connections: int = 32
    _commits: list[tuple[float, int]] = field(default_factory=list)
    _answer: dict[str, Any] | None = None

    def steady(self, *, headroom: int, warm_s: float, seconds: float) -> Run:
        """As fast as it goes while at most `headroom` events wait: what it can sustain, with a flat lag."""
        self.subject.begin()
        self.generator.post(self.subject.targets(), connections=self.connections, headroom=headroom)
        self._watch(lambda: self._elapsed() >= warm_s)
        return self._measured(seconds)

    def paced(self, *, events_per_s: float, warm_s: float, seconds: float) -> Run:
        """At a rate, whatever comes back."""
        self.subject.begin()
        self.generator.post(
            self.subject.targets(),
            connections=self.connections,
            events_per_s=events_per_s,
            seconds=warm_s + seconds + 1.0,
        )
        self._watch(lambda: self._elapsed() >= warm_s)
        return replace(self._measured(seconds), asked_events_per_s=events_per_s)

    def fixed(self, *, batches: int) -> Run:
        """So many batches as fast as they are taken, until the last one is committed."""
        self.subject.begin()
        before = self._used()
        self.generator.post(self.subject.targets(), connections=self.connections, batches=batches)
        self._watch(lambda: self._answer is not None)
        answer = self._until_committed()
        events = answer["events"]
        return self._run(answer, before, self._elapsed(), events)

    def settle(self, *, batches: int) -> None:
        """So many batches until they are committed: after it every process knows every customer."""
        self.subject.begin()
        self.generator.post(self.subject.targets(), connections=self.connections, batches=batches)
        self._until_committed(booked=False)

    def _measured(self, seconds: float) -> Run:
        before, began, first = self._used(), time.monotonic(), self._commits[-1]
        self._watch(lambda: time.monotonic() - began >= seconds)
        used, last = account.since(before, self._used()), self._commits[-1]
        self.generator.stop()
        ran_out = self._answer is not None and self._answer["ran_out"]
        answer = self._until_committed()
        if ran_out:
            raise RanOut(f"{self.name}: the prepared batches were used up before the time was")
        run = self._run(answer, before, last[0] - first[0], last[1] - first[1])
        return replace(
            run,
            cost=Cost.of(used, run.events),
            cores_used=sum(one.cpu_s for one in used.values()) / (last[0] - first[0]),
            lag_events=[point for point in run.lag_events if first[0] <= point[0] <= last[0]],
        )

    def _run(self, answer: dict[str, Any], before: dict[str, Used], seconds: float, events: int) -> Run:
        used = account.since(before, self._used())
        return Run(
            name=self.name,
            batch=self.generator.kind.name,
            batch_events=self.generator.kind.events,
            attributes=self.generator.kind.attributes,
            seconds=seconds,
            events=events,
            events_per_s=events / seconds,
            requests_per_s=answer["accepted"] / answer["elapsed_s"],
            cost=Cost.of(used, events),
            cores_used=sum(one.cpu_s for one in used.values()) / seconds,
            ack_ms=answer["latency_ms"],
            retried=answer["retried"],
            body_bytes_per_event=answer["size"] / max(answer["events"], 1),
            lag_events=self._lag(answer["series"]),
        )

    def _watch(self, over: Callable[[], bool]) -> None:
        """Poll the commits and pass them on until it is over."""
        while not over():
            self._poll()
            if self._answer is None:
                self.generator.committed(self._commits[-1][1])
                self._answer = self.generator.answered(POLL_S)
            elif self._answer["problems"]:
                raise NotCounted(f"{self.name}: {self._answer['problems']}")
            else:
                time.sleep(POLL_S)
        self._poll()

    def _until_committed(self, *, booked: bool = True) -> dict[str, Any]:
        """Wait until all that was accepted is committed; then the books."""
        self._watch(lambda: self._answer is not None)
        answer = self._answer
        assert answer is not None
        if answer["problems"]:
            raise NotCounted(f"{self.name}: {answer['problems']}")
        accepted, moved = answer["events"], time.monotonic()
        while self._commits[-1][1] < accepted:
            before = self._commits[-1][1]
            time.sleep(POLL_S)
            self._poll()
            moved = time.monotonic() if self._commits[-1][1] != before else moved
            if time.monotonic() - moved > STALLED_S:
                raise NotCounted(f"{self.name}: {accepted} events accepted, {before} committed, and no more")
        if booked:
            self.subject.check(accepted, Totals(**answer["totals"]))
        return answer

    def _poll(self) -> None:
        self._commits.append((time.monotonic(), self.subject.committed()))

    def _elapsed(self) -> float:
        return self._commits[-1][0] - self._commits[0][0] if self._commits else 0.0

    def _used(self) -> dict[str, Used]:
        return account.by_role({**self.subject.roles(), LOAD: [self.generator.pid]})

    def _lag(self, accepted: list[tuple[float, int]]) -> list[tuple[float, int]]:
        """Accepted minus committed at each poll."""
        times, counts = zip(*accepted, strict=True)
        there = np.interp([moment for moment, _ in self._commits], times, counts)
        return [
            (moment, max(0, int(count - done)))
            for (moment, done), count in zip(self._commits, there, strict=True)
        ]

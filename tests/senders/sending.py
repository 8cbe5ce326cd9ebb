"""Running a sender against the whole of Sluice, and counting what became of its events."""

import contextlib
import json
import os
import subprocess
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import text

from tests.live import MINE, Live
from tests.senders.refusing import RefusingFront
from tests.senders.senders import KnownSender
from tests.whole import until

DEADLINE_S = 120.0
COLLECTOR_S = 45.0
"""So long a collector that has answered may take to send on; what is not there then, it dropped."""
OPEN, LIMITED = "senders", "senders-limited"
"""The customers: the second may send one batch a second."""
SIZES = (1, 2, 50, 512, 5000)
LIMITED_SIZES = (3,) * 4
LIMITED_PAUSE_S = 0.05
"""So that a collector does not make one batch of them."""
LIMITED_TRIES = 5
"""A machine that is busy with other tests may be too slow to meet the limit."""
REFUSALS = 2
AWAY_SIZES = (5,) * 12
AWAY_PAUSE_S = 0.3
AWAY_AFTER = 3
"""Batches that are acknowledged before the receiver is killed."""

STORED = text(
    f"SELECT root_operation, count(*), sum(events) FROM interactions WHERE {MINE}"
    " AND root_operation LIKE :mark GROUP BY root_operation"
)
LOGGED = text(
    "SELECT body ->> '$.stringValue' AS said, count(*), count(*) FROM logs"
    f" WHERE {MINE} AND said LIKE :mark GROUP BY said"
)
"""Records of this severity are kept by the default pipeline."""


@dataclass(frozen=True, kw_only=True)
class BatchReport:
    """What the sender says of a batch: it had so many events, and was acknowledged or given up."""

    operation: str
    events: int
    acknowledged: bool


@dataclass(frozen=True, kw_only=True)
class SenderRun:
    """A sender's batches. `version` is what it says it is; the receiver was away for `away_s` seconds."""

    slug: str
    version: str
    batches: Sequence[BatchReport]
    away_s: float = 0.0
    logs: bool = False

    def given_up(self) -> int:
        """Batches that the sender said it dropped."""
        return sum(not batch.acknowledged for batch in self.batches)


@dataclass(frozen=True, kw_only=True)
class Customers:
    """The keys of the customers that all senders share; their events are told apart by their operations."""

    live: Live
    keys: dict[str, str]
    public_keys: dict[str, str]

    def sizes(self, sender: KnownSender) -> SenderRun:
        """Batches of 1 to 5,000 events."""
        return self._through(sender, OPEN, SIZES)

    def limited(self, sender: KnownSender) -> SenderRun:
        """Batches at once, of which the customer's limit refuses some with 429."""
        for _ in range(LIMITED_TRIES):
            before = self._refused()
            run = self._through(sender, LIMITED, LIMITED_SIZES, pause_s=LIMITED_PAUSE_S)
            if self._refused() > before:
                return run
        raise AssertionError("the limit was not met")

    def unavailable(self, sender: KnownSender) -> SenderRun:
        """The first two requests are answered with 503, though the receiver gets the second and keeps it."""
        with RefusingFront(self.live.whole.port, REFUSALS) as front:
            run = self._through(sender, OPEN, (3, 2), port=front.port)
            assert (front.refused, front.passed_on) == (REFUSALS, 1)
        return run

    def restarted(self, sender: KnownSender) -> SenderRun:
        """The receiver is killed and started again, in the middle of small batches."""
        return self._through(sender, OPEN, AWAY_SIZES, pause_s=AWAY_PAUSE_S, restart=True)

    def _through(self, sender: KnownSender, slug: str, sizes: Sequence[int], **options: Any) -> SenderRun:
        command = sender.command()
        port = options.pop("port", self.live.whole.port)
        with sender.between(port, self._key(sender, slug)) as own:
            run = self._run(sender, command, slug, sizes, f"http://127.0.0.1:{own}", **options)
            if sender.answers_first:
                run = self._sent_on(run)
            self._settle(run)
        return run

    def _sent_on(self, run: SenderRun) -> SenderRun:
        """What a collector was given, as acknowledged as far as it has come."""
        with contextlib.suppress(AssertionError):
            until(lambda: self._all_there(run), "a collector to send on", deadline_s=COLLECTOR_S)
        counted = self._counted(run)
        there = [counted.get(batch.operation, (0, 0))[0] == batch.events for batch in run.batches]
        batches = zip(run.batches, there, strict=True)
        return replace(run, batches=[replace(batch, acknowledged=found) for batch, found in batches])

    def _run(
        self,
        sender: KnownSender,
        command: list[str],
        slug: str,
        sizes: Sequence[int],
        url: str,
        pause_s: float = 0.0,
        restart: bool = False,
    ) -> SenderRun:
        mark = f"{os.urandom(6).hex()} of {sender.key()}"
        key = self._key(sender, slug)
        plan = {"mark": mark, "batches": sizes, "pause_s": pause_s, "url": url, "key": key}
        lines: list[dict[str, Any]] = []
        away_s = 0.0
        process = subprocess.Popen(
            [*command, json.dumps(plan), *sender.arguments],
            env=_environment(url, key) | sender.environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        killer = threading.Timer(DEADLINE_S, process.kill)
        killer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                lines.append(json.loads(line))
                if restart and len(lines) == AWAY_AFTER:
                    away_s = self._restart()
            assert process.wait(DEADLINE_S) == 0, f"{sender.name} failed"
        finally:
            killer.cancel()
            process.kill()
            process.wait(DEADLINE_S)
        assert [line["events"] for line in lines] == list(sizes)
        return SenderRun(
            slug=slug,
            away_s=away_s,
            logs=sender.logs,
            version=str(lines[0]["version"]),
            batches=[
                BatchReport(
                    operation=f"{mark} {line['batch']}",
                    events=line["events"],
                    acknowledged=line["acknowledged"],
                )
                for line in lines
            ],
        )

    def _key(self, sender: KnownSender, slug: str) -> str:
        return (self.public_keys if sender.public else self.keys)[slug]

    def _restart(self) -> float:
        """Seconds that it took."""
        killed_at = time.monotonic()
        self.live.whole.kill("receiver")
        self.live.whole.start("receiver")
        until(self.live.whole.ready, "the receiver to be ready again")
        return time.monotonic() - killed_at

    def _settle(self, run: SenderRun) -> None:
        """Wait until all that was acknowledged is counted, and assert that nothing is counted twice."""
        until(lambda: self._all_there(run), f"the events of {run} to be counted", deadline_s=DEADLINE_S)
        until(lambda: self._owed(run.slug) == 0, "all batches to be deposited")
        counted = self._counted(run)
        for batch in run.batches:
            interactions, events = counted.get(batch.operation, (0, 0))
            assert interactions == events, f"{batch}: counted twice"
            assert interactions in ((batch.events,) if batch.acknowledged else (0, batch.events)), batch

    def _all_there(self, run: SenderRun) -> bool:
        counted = self._counted(run)
        batches = [batch for batch in run.batches if batch.acknowledged]
        return all(counted.get(batch.operation, (0, 0))[0] >= batch.events for batch in batches)

    def _counted(self, run: SenderRun) -> dict[str, tuple[int, int]]:
        """Interactions and events by operation; each event began an interaction of its own. Of log records,
        twice the rows.
        """
        mark = run.batches[0].operation.rpartition(" ")[0]
        with self.live.home.engine.connect() as connection:
            rows = connection.execute(LOGGED if run.logs else STORED, {"slug": run.slug, "mark": f"{mark} %"})
            return {name: (int(interactions), int(events)) for name, interactions, events in rows}

    def _owed(self, slug: str) -> int:
        return int(self.live.whole.books(slug)["customers"][0]["owed_batches"])

    def _refused(self) -> int:
        """429s that the receiver has given, which its metrics tell."""
        lines = self.live.whole.metrics().splitlines()
        return sum(int(float(line.rpartition(" ")[2])) for line in lines if "too-many-batches" in line)


def _environment(url: str, key: str) -> dict[str, str]:
    """What README tells a user of an SDK to set, and nothing else of OpenTelemetry's."""
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "SLUICE_"))
    }
    return inherited | {
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": f"{url}/v1/traces",
        "OTEL_EXPORTER_OTLP_LOGS_ENDPOINT": f"{url}/v1/logs",
        "OTEL_EXPORTER_OTLP_HEADERS": f"Authorization={key}",
    }

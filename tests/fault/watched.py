"""An installation that a real Prometheus watches, with Sluice's rules in less time."""

import contextlib
import json
import re
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGCONT, SIGSTOP
from urllib.parse import urlsplit

import yaml

from deploy.local import ports
from deploy.local.rabbitmq import RabbitNode
from tests.fault.installation import Installation, installed
from tests.fault.servers import Database
from tests.prometheus import RULES, PrometheusServer, scraping
from tests.whole import until

FASTER = 30
"""So many times shorter are ranges, offsets and `for` in the rules of the test: 5 minutes are 10 seconds."""
THRESHOLDS = {
    "SluiceLoopStuck": {"> 60": "> 4"},
    "SluicePeerSilent": {"> 20": "> 6"},
    "SluiceReconnectsOften": {"> 10": "> 0"},
    "SluiceDispatchWaits": {"> 60": "> 2"},
    "SluiceTasksFail": {"> 0.1": "> 0"},
    "SluiceNotMeasured": {"> 120": "> 6"},
    "SluiceOwedTooLong": {"> 300": "> 5"},
    "SluiceThrottledForLong": {"> 900": "> 5"},
    "SluiceOwedExpiresWithinADay": {"< 86400": "< 30 * 86400", "> 300": "> 5"},
    "SluiceOwedExpiresWithinHours": {"< 4 * 3600": "< 30 * 86400", "> 60": "> 5"},
    "SluiceWindowsRungAgain": {"> 20": "> 1"},
    "SluiceQueueUnserved": {"> 30": "> 5"},
}
"""What else differs, so that a fault need not last for as long as in production."""
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
FIRES_WITHIN_S = 120.0
SILENT_WITHIN_S = 240.0


def faster() -> dict[str, str]:
    """The rules' files with shorter times and the thresholds above."""
    texts = {}
    for path in RULES:
        rules = yaml.safe_load(path.read_text())
        for rule in (rule for group in rules["groups"] for rule in group["rules"]):
            rule["expr"] = re.sub(r"(?<=\[)(\w+)(?=\])|(?<=offset )(\w+)", _shorter, rule["expr"])
            if "for" in rule:
                rule["for"] = re.sub(r"\w+", _shorter, rule["for"])
            for usual, lower in THRESHOLDS.get(rule.get("alert", ""), {}).items():
                assert rule["expr"].count(usual) == 1, (rule["alert"], usual)
                rule["expr"] = rule["expr"].replace(usual, lower)
        texts[path.name] = yaml.safe_dump(rules)
    return texts


def _shorter(duration: re.Match[str]) -> str:
    number, unit = int(duration[0][:-1]), duration[0][-1]
    return f"{number * UNITS_S[unit] * 1000 // FASTER}ms"


@dataclass(kw_only=True)
class Watched:
    """The installation, Prometheus, and agents that go on posting for the customers of `keys`."""

    installation: Installation
    node: RabbitNode
    database: Database
    prometheus: PrometheusServer
    addresses: dict[str, dict[str, str]]
    keys: dict[str, str] = field(default_factory=dict)
    _closed: threading.Event = field(default_factory=threading.Event)

    def customer(self) -> str:
        """A new customer whose agent posts from now on; its slug."""
        [(slug, key)] = self.installation.customers(1).items()
        self.keys[slug] = key
        return slug

    def firing(self) -> set[str]:
        return set(self.prometheus.firing())

    def well(self) -> bool:
        """Whether all processes answer, and one measures."""
        return (
            self.prometheus.scraped(4)
            and len(self.prometheus.query("time() - sluice_measured_timestamp_seconds < 5")) == 1
        )

    def flask(self, *arguments: str) -> None:
        self.installation.whole.flask(*arguments)

    def post(self) -> None:
        """Until closed: ten batches a second. What is refused is not repeated."""
        while not self._closed.wait(0.1):
            for key in list(self.keys.values()):
                with contextlib.suppress(OSError):
                    self.installation.whole.post_batch(key, event())

    def close(self) -> None:
        self._closed.set()

    @contextlib.contextmanager
    def stopped(self, *pids: int) -> Iterator[None]:
        """The processes stand still meanwhile."""
        for pid in pids:
            self.installation.kill(pid, SIGSTOP)
        try:
            yield
        finally:
            for pid in pids:
                self.installation.kill(pid, SIGCONT)

    @contextlib.contextmanager
    def stumbling(self, pid: int, seconds: float) -> Iterator[None]:
        """The process stands still again and again, for so long."""
        ended = threading.Event()

        def stumble() -> None:
            while not ended.wait(0.5):
                with self.stopped(pid):
                    time.sleep(seconds)

        thread = threading.Thread(target=stumble, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def event() -> bytes:
    """A batch of one event."""
    now_us = time.time_ns() // 1000
    row = {
        "trace_id": secrets.token_hex(16),
        "event_id": secrets.token_hex(8),
        "started_at": now_us,
        "duration_us": 10,
        "service": "shop",
        "operation": "GET /",
        "kind": "server",
        "status": "ok",
    }
    return json.dumps(row).encode() + b"\n"


@contextlib.contextmanager
def watching(folder: Path, program: str, node: RabbitNode, database: Database) -> Iterator[Watched]:
    """An installation with one customer, traffic and Prometheus; all is well when it begins."""
    dispatcher, worker = ports.free(2)
    own = {
        "dispatcher": {"SLUICE_TASK_DISPATCHER_METRICS_BIND": f"127.0.0.1:{dispatcher}"},
        "worker": {"SLUICE_TASK_WORKER_METRICS_BIND": f"127.0.0.1:{worker}"},
    }
    with installed(
        folder / "installation",
        database_url=database.url,
        amqp_url=node.amqp_url,
        stream_url=node.stream_url,
        own=own,
        SLUICE_TASK_MEASURE_EVERY_S="1",
        SLUICE_TASK_OWED_TARGET_S="2",
        SLUICE_TASK_STALE_AFTER_S="3",
    ) as installation:
        targets = {
            "sluice-receiver": installation.whole.operators_port,
            "sluice-dispatcher": dispatcher,
            "sluice-worker": worker,
            "sluice-rabbitmq": urlsplit(node.prometheus_url).port or 0,
        }
        with scraping(program, folder / "prometheus", targets, faster()) as prometheus:
            watched = Watched(
                installation=installation, node=node, database=database, prometheus=prometheus, addresses=own
            )
            agents = threading.Thread(target=watched.post, daemon=True)
            watched.customer()
            agents.start()
            try:
                until(lambda: prometheus.query("sluice_measured_timestamp_seconds"), "figures")
                yield watched
            finally:
                watched.close()
                agents.join()

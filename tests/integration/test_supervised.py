"""Each process tells its service manager that it is ready when it is, and beats while its own loop turns."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploy.local.rabbitmq import RabbitNode
from tests.notified import WATCHDOG_S, Notices, listening
from tests.proxy import Proxy
from tests.receiver import bare_environment
from tests.whole import ROOT, Whole, until

pytestmark = pytest.mark.timeout(600)
BEAT = "WATCHDOG=1"


class Supervision:
    """An installation whose broker is reached through proxies, and the notices of the process under test."""

    def __init__(self, whole: Whole, proxies: list[Proxy], notices: Notices) -> None:
        self.whole, self.proxies, self.notices = whole, proxies, notices

    def broker_goes(self) -> None:
        for proxy in self.proxies:
            proxy.refuse()
            proxy.cut()

    def broker_returns(self) -> None:
        for proxy in self.proxies:
            proxy.refuse(False)

    def start(self, name: str, *extra: str) -> subprocess.Popen[bytes]:
        return self.whole.start(name, *extra, **self.notices.environment)

    def beats_on(self, why: str) -> None:
        before = self.notices.count(BEAT)
        until(lambda: self.notices.count(BEAT) > before + 1, f"beats while {why}")

    def starts_while_the_broker_is_away(self, name: str, *extra: str) -> subprocess.Popen[bytes]:
        """The start is prolonged and not finished; and finished when the broker is back."""
        self.broker_goes()
        process = self.start(name, *extra)
        until(lambda: self.notices.count("EXTEND_TIMEOUT_USEC=60000000") > 1, "a start that is prolonged")
        assert self.notices.count("READY=1") == 0
        self.broker_returns()
        until(lambda: self.notices.count("READY=1") == 1, "the process to be ready")
        self.beats_on("it works")
        self.broker_goes()
        self.beats_on("the broker is away")
        self.broker_returns()
        return process

    def stands_still(self, pids: list[int], *, meanwhile: Callable[[], None] = lambda: None) -> None:
        """No beat comes while the processes are stopped; more do when they go on."""
        self.beats_on("its loop turns")
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            until(lambda: self.notices.silent_s(BEAT) > WATCHDOG_S, "the beats to cease")
            meanwhile()
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)
        self.beats_on("its loop turns again")

    def ends(self, name: str) -> None:
        self.whole.kill(name, signal.SIGTERM)
        until(lambda: self.notices.count("STOPPING=1") == 1, "the notice that it stops")
        assert self.notices.count("READY=1") == 1, "said once"


@pytest.fixture
def supervision(tmp_path: Path, rabbitmq: RabbitNode, sqlite_url: str) -> Iterator[Supervision]:
    environment = bare_environment()
    environment["DATABASE_URL"] = sqlite_url
    proxies = []
    for name, url in (("BROKER_URL", rabbitmq.amqp_url), ("STREAM_URL", rabbitmq.stream_url)):
        port = urlsplit(url).port
        assert port is not None
        proxies.append(Proxy("127.0.0.1", port))
        environment[name] = url.replace(f":{port}", f":{proxies[-1].port}")
    whole = Whole(folder=tmp_path, environment=environment)
    with listening(tmp_path / "notify") as notices, proxies[0], proxies[1]:
        try:
            yield Supervision(whole, proxies, notices)
        finally:
            whole.stop()


def health(whole: Whole, *words: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "tasks.health", *words],
        cwd=ROOT,
        env=whole.environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.returncode, done.stderr.strip()


def test_a_dispatcher_is_watched_by_its_rounds(supervision: Supervision, sqlite_url: str) -> None:
    whole, name = supervision.whole, f"watched-{supervision.whole.port}"
    words = ("dispatcher", "-n", name, "--deadline")
    assert health(whole, *words, "30") == (1, f"there is no dispatcher {name} on this host")
    process = supervision.starts_while_the_broker_is_away("dispatcher", "-n", name)
    until(lambda: health(whole, *words, "30") == (0, f"{name} dispatches; customers: 0"), "it to dispatch")

    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as held:
        held.execute("BEGIN EXCLUSIVE")
        until(lambda: "dispatch_waited" in whole.log("dispatcher"), "a round that found no database")
        supervision.beats_on("the database is away")
        assert health(whole, *words, "0.1")[0] == 0
        held.rollback()

    def fails() -> None:
        said = health(whole, *words, "1")
        assert said == (1, f"the loop of {name} stands still, and broker and database are there")
        supervision.broker_goes()
        assert health(whole, *words, "1") == (0, f"{name} waits for the broker, which is away")
        supervision.broker_returns()

    supervision.stands_still([process.pid], meanwhile=fails)
    supervision.ends("dispatcher")


def test_a_worker_is_watched_by_its_consumption(supervision: Supervision) -> None:
    process = supervision.starts_while_the_broker_is_away("worker", "-n", "watched@%h")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert len(children) >= 2
    supervision.stands_still([process.pid])
    for child in map(int, children):
        os.kill(child, signal.SIGSTOP)
    supervision.beats_on("its pool is busy")
    for child in map(int, children):
        os.kill(child, signal.SIGCONT)
    supervision.ends("worker")


def test_a_receiver_is_watched_by_its_workers(supervision: Supervision) -> None:
    process = supervision.starts_while_the_broker_is_away("receiver")
    until(supervision.whole.ready, "the receiver to accept batches")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    # The master goes on turning; those who do the work stand still.
    supervision.stands_still([int(child) for child in children])
    supervision.stands_still([process.pid])
    supervision.ends("receiver")

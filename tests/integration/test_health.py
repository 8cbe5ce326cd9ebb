"""`python -m tasks.health worker` fails when the worker must be started again, and for nothing else."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from kombu import Connection, Queue

from bench.installation.leaderless import evaluate
from deploy.local.rabbitmq import RabbitNode
from tests.integration.test_lost_channels import CLOSE_CHANNELS
from tests.integration.test_refused_queues import CLOSE_CONNECTIONS
from tests.proxy import Proxy
from tests.whole import ROOT, Whole, until

pytestmark = pytest.mark.timeout(600)
NAME = "asked@%h"


def health(whole: Whole, *, name: str = NAME, deadline_s: float = 30.0) -> subprocess.CompletedProcess[str]:
    words = ["-m", "tasks.health", "worker", "-n", name, "--deadline", str(deadline_s)]
    command = [sys.executable, *words]
    return subprocess.run(
        command, cwd=ROOT, env=whole.environment, capture_output=True, text=True, timeout=120
    )


def children_of(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def comes_to(whole: Whole, code: int, words: str) -> Callable[[], bool]:
    """Whether the command ends so; polled, since a worker that lost the broker takes a moment to learn it."""

    def ended() -> bool:
        said = health(whole, deadline_s=5.0)
        return said.returncode == code and words in said.stderr

    return ended


def test_the_health_of_a_worker_is_that_of_its_consumption(
    tmp_path: Path, rabbitmq: RabbitNode, sqlite_url: str, slug: str
) -> None:
    amqp = rabbitmq.amqp_url
    port = urlsplit(amqp).port
    assert port is not None
    with Proxy("127.0.0.1", port) as proxy, Connection(amqp) as connection:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
        through = amqp.replace(f":{port}", f":{proxy.port}")
        urls = {"DATABASE_URL": sqlite_url, "BROKER_URL": through, "STREAM_URL": rabbitmq.stream_url}
        whole = Whole(folder=tmp_path, environment=environment | urls)
        try:
            assert health(whole).returncode == 1, "nobody is there"
            whole.start("worker", "-n", NAME)
            until(comes_to(whole, 0, "consumes its queues: 1"), "the worker to consume")
            _survives_what_passes(whole, rabbitmq, sqlite_url)

            proxy.refuse()
            proxy.cut()
            until(comes_to(whole, 0, "waits for the broker"), "the worker to miss its broker")
            proxy.refuse(False)
            until(comes_to(whole, 0, "consumes its queues"), "the worker to be back")

            children = children_of(whole.processes["worker"].pid)
            for child in children:
                os.kill(child, signal.SIGSTOP)
            assert children
            assert health(whole).returncode == 0, "its pool is busy, and it consumes"
            for child in children:
                os.kill(child, signal.SIGCONT)

            whole.processes["worker"].send_signal(signal.SIGSTOP)
            stopped = health(whole, deadline_s=3.0)
            assert (stopped.returncode, "does not answer" in stopped.stderr) == (1, True), stopped.stderr
            whole.processes["worker"].send_signal(signal.SIGCONT)
            assert health(whole).returncode == 0

            whole.kill("worker")
            assert health(whole).returncode == 1
            # Its one queue is refused from the start: it answers pings, and consumes nothing.
            foreign = Queue(f"foreign-{slug}", queue_arguments={"x-max-length": 7}, auto_delete=True)
            foreign.bind(connection.channel()).queue_declare()
            whole.start("worker", "-n", NAME, "-Q", foreign.name)
            until(comes_to(whole, 1, foreign.name), "the refusal to show")
            foreign.bind(connection.channel()).delete()
            until(comes_to(whole, 0, "consumes its queues: 1"), "the queue to be taken when it is free")
        finally:
            whole.stop()


def _survives_what_passes(whole: Whole, rabbitmq: RabbitNode, sqlite_url: str) -> None:
    for closed in (CLOSE_CHANNELS, CLOSE_CONNECTIONS):
        evaluate(rabbitmq, closed)
        assert health(whole).returncode == 0, "it consumes again by itself, within the deadline"
    # The database is not the worker's fault.
    with sqlite3.connect(sqlite_url.removeprefix("sqlite:///")) as held:
        held.execute("BEGIN EXCLUSIVE")
        until(lambda: "queues_not_looked_at" in whole.log("worker"), "a look that found no database")
        assert health(whole).returncode == 0
        held.rollback()

"""The floors that the benchmark measures beside Sluice do their work."""

import os
import subprocess
import sys
from pathlib import Path

from deploy.local import ports
from tests.receiver import stop
from tests.slow import SlowAgent, answers, head
from tests.whole import ROOT, until


def test_the_empty_handler_takes_bodies_that_come_with_their_head_and_later(tmp_path: Path) -> None:
    port, operators_port = ports.free(2)
    log = tmp_path / "empty.log"
    command = ["-m", "gunicorn", "-c", "python:bench.floors.empty", "bench.floors.empty:app"]
    settings = {
        "SLUICE_HTTP_BIND": f"127.0.0.1:{port}",
        "SLUICE_HTTP_METRICS_BIND": f"127.0.0.1:{operators_port}",
    }
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=os.environ | settings,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:

        def answered() -> bool:
            assert process.poll() is None, log.read_text()
            try:
                with SlowAgent(port) as agent:
                    agent.sendall(head(None, "Content-Length: 2") + b"{}")
                    return answers(agent, 1) == [202]
            except ConnectionError:
                return False

        until(answered, "an answer of the empty handler")
        with SlowAgent(port) as agent:
            agent.sendall(head(None, "Content-Length: 200000"))
            for _ in range(20):
                agent.sendall(b"x" * 10_000)
            assert answers(agent, 1) == [202]
    finally:
        stop(process)

"""The floors that the benchmark measures beside Sluice do their work."""

import shlex
import subprocess
import sys
from pathlib import Path

from bench.floors.measured import command_line
from deploy.local import ports
from tests.receiver import stop
from tests.slow import SlowAgent, answers, head
from tests.whole import ROOT, until


def test_the_empty_handler_takes_bodies_that_come_with_their_head_and_later(tmp_path: Path) -> None:
    [port] = ports.free(1)
    log = tmp_path / "empty.log"
    command = ["-m", *shlex.split(command_line(port))]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
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

"""The supervisor over trivial real processes."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deploy.local import leftovers
from deploy.local.supervise import Program, Supervisor

DEADLINE_S = 30.0
STUBBORN = "sh -c 'trap \"\" TERM; echo up; while :; do sleep 0.1; done'"


@dataclass
class Heard:
    lines: list[tuple[str, bytes]] = field(default_factory=list)
    told: list[str] = field(default_factory=list)


@contextmanager
def supervised(folder: Path, heard: Heard, *programs: Program) -> Iterator[Supervisor]:
    supervisor = Supervisor(
        programs,
        environment=dict(os.environ),
        folder=str(folder),
        on_line=lambda name, line: heard.lines.append((name, line)),
        tell=heard.told.append,
    )
    supervisor.start(*(program.name for program in programs))
    try:
        yield supervisor
    finally:
        supervisor.stop(hurry=lambda: True)


def until(supervisor: Supervisor, condition: Callable[[], object]) -> None:
    end = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < end, f"not within {DEADLINE_S} s"
        supervisor.poll(0.02)


def alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def test_a_process_that_dies_is_started_again_and_the_user_is_told(tmp_path: Path) -> None:
    heard = Heard()
    with supervised(tmp_path, heard, Program(name="one", command="sleep 1000")) as supervisor:
        until(supervisor, supervisor.pids)
        first = supervisor.pids()["one"]
        os.kill(first, signal.SIGKILL)
        until(supervisor, lambda: supervisor.pids().get("one", first) != first)
        assert supervisor.states["one"].words == "up, restarted 1×"
    assert any("one died (killed by SIGKILL)" in text and "restart 1 follows" in text for text in heard.told)


def test_each_death_doubles_the_pause_before_the_restart(tmp_path: Path) -> None:
    heard = Heard()
    with supervised(tmp_path, heard, Program(name="one", command="false")) as supervisor:
        until(supervisor, lambda: len(heard.told) >= 3)
    pauses = [text.rpartition("follows in ")[2] for text in heard.told[:3]]
    assert pauses == ["0.5 s", "1.0 s", "2.0 s"]
    assert "exit code 1" in heard.told[0]


def test_a_program_that_is_not_there_counts_as_a_death_and_its_log_says_so(tmp_path: Path) -> None:
    heard = Heard()
    with supervised(tmp_path, heard, Program(name="one", command="no-such-program")) as supervisor:
        until(supervisor, lambda: heard.told)
    assert "exit code 127" in heard.told[0]
    assert b"not found" in heard.lines[0][1]


def test_a_child_that_outlives_its_parent_does_not_hide_the_parents_death(tmp_path: Path) -> None:
    heard = Heard()
    command = "sh -c 'sleep 1000 & echo $!; wait'"
    with supervised(tmp_path, heard, Program(name="one", command=command)) as supervisor:
        until(supervisor, lambda: heard.lines and supervisor.pids())
        orphan = int(heard.lines[0][1])
        os.kill(supervisor.pids()["one"], signal.SIGKILL)
        until(supervisor, lambda: heard.told)
        until(supervisor, lambda: not alive(orphan))


def test_stopping_goes_in_order_each_after_the_one_before_it_is_gone(tmp_path: Path) -> None:
    heard = Heard()
    slow = "sh -c 'trap \"sleep 0.3; echo gone; exit\" TERM; echo up; while :; do sleep 0.05; done'"
    names = ("first", "second", "third")
    with supervised(tmp_path, heard, *(Program(name=name, command=slow) for name in names)) as supervisor:
        until(supervisor, lambda: len(heard.lines) == len(names) and len(supervisor.pids()) == len(names))
        assert supervisor.stop() == []
    assert [name for name, line in heard.lines if line == b"gone\n"] == list(names)


def test_a_process_that_ignores_the_request_to_stop_is_killed_with_its_group(tmp_path: Path) -> None:
    heard = Heard()
    with supervised(tmp_path, heard, Program(name="one", command=STUBBORN, stop_within_s=0.3)) as supervisor:
        until(supervisor, lambda: heard.lines and supervisor.pids())
        pid = supervisor.pids()["one"]
        assert supervisor.stop() == ["one"]
        assert not alive(pid)
    assert heard.told == ["one has not stopped by itself; killed"]


def test_stopping_restarts_nothing(tmp_path: Path) -> None:
    heard = Heard()
    programs = (
        Program(name="slow", command=STUBBORN, stop_within_s=1.0),
        Program(name="fast", command="sleep 1000"),
    )
    with supervised(tmp_path, heard, *programs) as supervisor:
        until(supervisor, lambda: len(supervisor.pids()) == 2 and heard.lines)
        os.kill(supervisor.pids()["fast"], signal.SIGKILL)
        until(supervisor, lambda: heard.told)  # its restart is due while the slow one is still waited for
        supervisor.stop()
        assert supervisor.pids() == {}
        assert supervisor.states["fast"].restarts == 0


def test_a_poll_ends_although_signals_come_all_the_while(tmp_path: Path) -> None:
    heard, over, main = Heard(), threading.Event(), threading.get_ident()

    def poke() -> None:
        while not over.wait(0.0003):
            signal.pthread_kill(main, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    poking = threading.Thread(target=poke)
    try:
        with supervised(tmp_path, heard, Program(name="one", command="sleep 1000")) as supervisor:
            poking.start()
            for _ in range(2_000):
                supervisor.poll(0.001)
    finally:
        over.set()
        poking.join()
        signal.signal(signal.SIGUSR1, before)


@pytest.fixture
def mark(tmp_path: Path) -> Iterator[str]:
    mark = f"{leftovers.every_run(tmp_path)}test"
    yield mark
    leftovers.stop(mark, within_s=0.0)


def start_marked(mark: str, ending: str, command: str) -> "subprocess.Popen[bytes]":
    environment = {**os.environ, leftovers.MARK: mark + ending}
    return subprocess.Popen(
        ["/bin/sh", "-c", command], env=environment, start_new_session=True, stdout=subprocess.PIPE
    )


def test_leftovers_are_found_in_any_session_and_stubborn_ones_are_killed(mark: str) -> None:
    gentle = start_marked(mark, leftovers.PROCESSES, "exec sleep 1000")
    stubborn = start_marked(mark, leftovers.PROCESSES, f"setsid {STUBBORN}")
    assert stubborn.stdout is not None
    assert stubborn.stdout.readline() == b"up\n"
    killed = leftovers.stop(mark, within_s=0.5)
    assert gentle.wait(DEADLINE_S) == -signal.SIGTERM
    assert killed
    assert leftovers.find(mark) == []
    stubborn.wait(DEADLINE_S)
    stubborn.stdout.close()


def test_the_node_is_stopped_after_the_processes_that_use_it(mark: str) -> None:
    order = "trap 'sleep {}; date +%s%N; exit' TERM; echo up; while :; do sleep 0.05; done"
    node = start_marked(mark, leftovers.NODE, order.format(0))
    process = start_marked(mark, leftovers.PROCESSES, order.format(0.5))
    ended = {}
    for one in (node, process):
        assert one.stdout is not None
        assert one.stdout.readline() == b"up\n"
    leftovers.stop_run(mark, processes_within_s=DEADLINE_S, node_within_s=DEADLINE_S)
    for name, one in (("node", node), ("process", process)):
        assert one.stdout is not None
        ended[name] = int(one.stdout.read())
        one.stdout.close()
        one.wait(DEADLINE_S)
    assert ended["process"] < ended["node"]


def test_the_guard_stops_everything_when_the_runner_is_gone(mark: str) -> None:
    process = start_marked(mark, leftovers.PROCESSES, "exec sleep 1000")
    guard = subprocess.Popen([sys.executable, "-m", "deploy.local.leftovers", mark], stdin=subprocess.PIPE)
    assert process.poll() is None
    guard.communicate(timeout=DEADLINE_S)
    assert process.wait(DEADLINE_S) == -signal.SIGTERM

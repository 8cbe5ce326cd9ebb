"""Finds and stops what a run has left behind, by a mark in the environment that every descendant inherits.

As a program it is the run's guard: it sleeps on its standard input, which the runner holds open, and stops
what is left as soon as the runner is gone, SIGKILL included.
"""

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

MARK = "SLUICE_RUN"
PROCESSES = "/processes"  # ends the mark of the Procfile's processes
NODE = "/node"  # ends the mark of the broker's node, which outlives them


def every_run(folder: Path) -> str:
    """What the marks of all runs that keep their state in `folder` begin with."""
    return f"{folder.resolve()}:"


def find(mark: str) -> list[int]:
    """The pids of living processes that were started with an environment whose mark begins with `mark`."""
    needle = f"{MARK}={mark}".encode()
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:  # gone meanwhile, or another user's
            continue
        if any(variable.startswith(needle) for variable in environment.split(b"\0")):
            found.append(int(entry.name))
    return found


def stop(mark: str, *, within_s: float) -> list[int]:
    """Stop all processes of `mark`; returns the pids that had to be killed because `within_s` was not enough.

    SIGTERM goes to the leaders of process groups only: a Celery child that gets it too would drop its task.
    """
    pids = find(mark)
    groups = {pid: _group(pid) for pid in pids}
    for pid, group in groups.items():
        if group == pid or group not in groups:
            _send(pid, signal.SIGTERM)
    if _wait(lambda: not find(mark), within_s):
        return []
    killed: list[int] = []

    def kill() -> bool:
        alive = find(mark)
        for pid in alive:
            _send(pid, signal.SIGKILL)
        killed.extend(pid for pid in alive if pid not in killed)
        return not alive

    _wait(kill, 5.0)
    return killed


def stop_run(mark: str, *, processes_within_s: float = 20.0, node_within_s: float = 15.0) -> list[int]:
    """Stop the processes of one run, or of every run of a folder, and the node after those that use it."""
    killed = []
    marks = {_mark_of(pid) for pid in find(mark)} - {None}
    for ending, within_s in ((PROCESSES, processes_within_s), (NODE, node_within_s)):
        for one in sorted(m for m in marks if m is not None and m.endswith(ending)):
            killed += stop(one, within_s=within_s)
    return killed


def reap() -> None:
    """Collect our children that have ended, so that no zombie waits for an init that takes its time."""
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def _mark_of(pid: int) -> str | None:
    with suppress(OSError):
        for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            if variable.startswith(f"{MARK}=".encode()):
                return variable.decode().partition("=")[2]
    return None


def _group(pid: int) -> int | None:
    with suppress(ProcessLookupError):
        return os.getpgid(pid)
    return None


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _wait(done: Callable[[], bool], within_s: float) -> bool:
    until = time.monotonic() + within_s
    while not done():
        if time.monotonic() > until:
            return False
        time.sleep(0.1)
    return True


if __name__ == "__main__":
    # The terminal's signals are the runner's business; the guard goes when the runner is gone.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    stop_run(sys.argv[1])

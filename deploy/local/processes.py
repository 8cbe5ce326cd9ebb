"""A process that outlives its starter's memory: known by pid and start time, ended by exactly those."""

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Process:
    """`started` is in clock ticks since boot (field 22 of /proc/PID/stat): a pid used again has another."""

    pid: int
    started: int

    def alive(self) -> bool:
        return of(self.pid) == self


def of(pid: int) -> Process | None:
    """The living process with this pid; None when there is none or only a zombie is left."""
    _reap(pid)
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command's name stands in brackets and may itself hold blanks and brackets.
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else Process(pid, int(fields[19]))


def spawn(
    command: Sequence[str], *, environment: Mapping[str, str], log: Path, open_files: int | None = None
) -> Process:
    """Start a command in a session of its own, output appended to `log`, working folder `/`.

    In a session of its own Ctrl-C does not reach it: the starter gets it and stops things in order.
    Raises OSError when it could not be started or ended at once.
    """
    limit = f"ulimit -n {open_files} && " if open_files else ""
    shell = ["/bin/sh", "-c", f'cd / && {limit}exec "$@"', "sh", *command]
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    pid = os.posix_spawn(shell[0], shell, dict(environment), file_actions=actions, setsid=True)
    process = of(pid)
    if process is None:
        raise OSError(f"{command[0]} ended at once, see {log}")
    return process


def end(process: Process, *, how: signal.Signals = signal.SIGTERM, timeout_s: float) -> bool:
    """Ask the process to end, kill it when it has not after `timeout_s`; False when it had to be killed."""
    for signum, patience_s in ((how, timeout_s), (signal.SIGKILL, 10.0)):
        if not process.alive():
            return True
        os.kill(process.pid, signum)
        if _gone(process, patience_s):
            return signum == how
    raise TimeoutError(f"process {process.pid} survived SIGKILL")


def _gone(process: Process, timeout_s: float) -> bool:
    deadline = time.monotonic() + timeout_s
    while process.alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except OSError:
        return  # not our child: its own parent, or init, collects it

"""What a private server leaves in its folder: its processes, who started them, its ports, its password."""

import json
import os
import secrets
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.local import ports as loopback
from deploy.local.processes import Process, end as end_process, of

_RECORD = "processes.json"
_PORTS = "ports.json"
DETACHED = Process(0, 0)


class Running(RuntimeError):
    """A living starter owns the server in this folder."""


@dataclass(frozen=True, slots=True)
class Record:
    """The starter, and the processes in the order of their start, each with the signal that stops it."""

    owner: Process
    started: tuple[tuple[Process, int], ...] = ()


def read(folder: Path) -> Record | None:
    try:
        data = json.loads((folder / _RECORD).read_text())
    except (OSError, ValueError):
        return None
    started = tuple((Process(pid, ticks), signum) for pid, ticks, signum in data["started"])
    return Record(Process(*data["owner"]), started)


def claim(folder: Path, timeout_s: float) -> None:
    """Make this process the owner of the folder; ends what a dead owner left running.

    Raises Running while the owner lives, or when the server was started to stay.
    """
    record = read(folder)
    if record and alive(folder):
        if record.owner == DETACHED or record.owner.alive():
            raise Running(f"a server already runs in {folder}: stop it first, or use another folder")
        end(folder, timeout_s)
    me = of(os.getpid())
    assert me is not None
    _write(folder, Record(me))


def add(folder: Path, process: Process, how: signal.Signals = signal.SIGTERM) -> None:
    record = read(folder)
    assert record is not None, "claim() comes first"
    _write(folder, Record(record.owner, (*record.started, (process, int(how)))))


def detach(folder: Path) -> None:
    """The server outlives its starter on purpose: only `stop` ends it."""
    record = read(folder)
    assert record is not None, "claim() comes first"
    _write(folder, Record(DETACHED, record.started))


def end(folder: Path, timeout_s: float) -> bool:
    """End the recorded processes, last started first; False when none was alive."""
    record = read(folder)
    found = False
    for process, signum in reversed(record.started if record else ()):
        if process.alive():
            found = True
            end_process(process, how=signal.Signals(signum), timeout_s=timeout_s)
    (folder / _RECORD).unlink(missing_ok=True)
    return found


def alive(folder: Path) -> bool:
    record = read(folder)
    return record is not None and any(process.alive() for process, _ in record.started)


def ports(folder: Path, names: tuple[str, ...]) -> dict[str, int]:
    """The ports of the last start when all are free, else new ones: clients find the server where it was."""
    known = ports_now(folder)
    if set(known) == set(names) and all(loopback.is_free(port) for port in known.values()):
        return known
    chosen = dict(zip(names, loopback.free(len(names)), strict=True))
    (folder / _PORTS).write_text(json.dumps(chosen))
    return chosen


def ports_now(folder: Path) -> dict[str, int]:
    """The ports of the last start; none when there was no start."""
    try:
        known: dict[str, int] = json.loads((folder / _PORTS).read_text())
    except (OSError, ValueError):
        return {}
    return known


def forget_ports(folder: Path) -> None:
    (folder / _PORTS).unlink(missing_ok=True)


def secret(path: Path) -> str:
    """The password kept in this file, made at the first call, readable by its owner only."""
    if not path.exists():
        write_secret(path, secrets.token_urlsafe(24))
    return path.read_text()


def write_secret(path: Path, text: str, *, mode: int = 0o600) -> None:
    path.unlink(missing_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(descriptor, "w") as file:
        file.write(text)


def command(
    server: str,
    arguments: list[str],
    *,
    start: Callable[[Path], dict[str, str]],
    stop: Callable[[Path], bool],
) -> int:
    """The command line of every server: `start FOLDER` prints what to connect to, `stop FOLDER` ends it."""
    match arguments:
        case ["start", folder]:
            try:
                facts = start(Path(folder))
            except (OSError, RuntimeError) as problem:
                print(f"{server}: {problem}", file=sys.stderr)
                return 1
            print("\n".join(f"{name}={value}" for name, value in facts.items()))
            return 0
        case ["stop", folder]:
            print(f"{server}: {'stopped' if stop(Path(folder)) else 'was not running'}")
            return 0
    print(f"usage: python -m deploy.local.{server} start|stop FOLDER", file=sys.stderr)
    return 2


def _write(folder: Path, record: Record) -> None:
    data: dict[str, Any] = {
        "owner": [record.owner.pid, record.owner.started],
        "started": [[process.pid, process.started, signum] for process, signum in record.started],
    }
    new = folder / f"{_RECORD}.new"
    new.write_text(json.dumps(data))
    new.replace(folder / _RECORD)

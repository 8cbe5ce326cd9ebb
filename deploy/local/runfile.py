"""What a run tells others under var/: that it runs (a lock), where things are (run.json, run.env)."""

import fcntl
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from deploy.local import ports

RUN_JSON = "run.json"
RUN_ENV = "run.env"
LOCK = "run.lock"
PORTS = "ports.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerUrls:
    amqp: str
    stream: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFile:
    """One run as scripts see it. Some URLs hold passwords: the file is for its owner only.

    `operators` is where the receiver's /metrics are; `metrics` maps each process that has some to their URL.
    `key_files` maps each demo customer to the file with its key; `processes` maps names to pids.
    """

    pid: int
    ready: bool = False
    receiver: str
    operators: str
    metrics: dict[str, str] = field(default_factory=dict)
    flower: str
    management: str | None
    broker: BrokerUrls
    database: str
    key_files: dict[str, str] = field(default_factory=dict)
    processes: dict[str, int] = field(default_factory=dict)
    logs: str


class Lock:
    """At most one run in a folder. The kernel lets go when the holder dies, however it dies."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take(self) -> bool:
        """True when the lock is now ours; the file then names our pid."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        os.truncate(self._file, 0)
        os.pwrite(self._file, str(os.getpid()).encode(), 0)
        return True

    def holder(self) -> int | None:
        """The pid of the living run, None when there is none."""
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            text = os.pread(self._file, 20, 0)
            return int(text) if text.isdigit() else None
        fcntl.flock(self._file, fcntl.LOCK_UN)
        return None

    def close(self) -> None:
        os.close(self._file)


def write_run(folder: Path, run: RunFile) -> None:
    _write(folder / RUN_JSON, json.dumps(asdict(run), indent=2) + "\n")


def read_run(folder: Path) -> dict[str, Any] | None:
    """The file as it stands, None when there is none or it is not whole."""
    try:
        content = json.loads((folder / RUN_JSON).read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def write_environment(folder: Path, variables: Mapping[str, str]) -> None:
    """A file for `. var/run.env`: what `flask`, `celery` and `alembic` need to reach this run."""
    lines = [f"export {name}={shlex.quote(value)}\n" for name, value in sorted(variables.items())]
    _write(folder / RUN_ENV, "".join(lines))


def forget(folder: Path) -> None:
    """Remove what only holds while the run lives."""
    for name in (RUN_JSON, RUN_ENV):
        (folder / name).unlink(missing_ok=True)


def stable_ports(folder: Path, names: Sequence[str]) -> dict[str, int]:
    """A free loopback port for each name: the one of the last time while that is free."""
    path = folder / PORTS
    try:
        known = {str(name): int(port) for name, port in json.loads(path.read_text()).items()}
    except (OSError, ValueError, AttributeError):
        known = {}
    fresh = iter(ports.free(len(names)))
    chosen = {name: known[name] if _usable(known.get(name)) else next(fresh) for name in names}
    _write(path, json.dumps(known | chosen) + "\n")
    return chosen


def _usable(port: int | None) -> bool:
    return port is not None and 0 < port < 65_536 and ports.is_free(port)


def _write(path: Path, text: str) -> None:
    """Replace the file whole, readable by its owner only from its first moment on."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
    fresh.replace(path)

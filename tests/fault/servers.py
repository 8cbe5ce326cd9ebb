"""Private servers that can be killed, started where they were, and kept short of disk."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from signal import SIGKILL

from deploy.local import postgres as local_postgres, rabbitmq as local_rabbitmq, records, releases
from tests.fault.installation import wait_gone

DISK_BYTES = 256 * 1024 * 1024


def kill_broker(folder: Path) -> None:
    """SIGKILL for the node; what it had written and not synced stays in the page cache."""
    _kill(folder)
    stop_broker(folder)  # its epmd


def stop_broker(folder: Path) -> None:
    local_rabbitmq.stop(folder)


def start_broker(folder: Path) -> None:
    local_rabbitmq.start(folder)


def limit_free_disk(folder: Path, least_bytes: int) -> None:
    """Below so much free disk the node raises its alarm: publishing and stream reading stop."""
    release, name = releases.remembered(folder), (folder / "name").read_text()
    environment = os.environ | {
        "HOME": f"{release.seen(folder)}/home",  # where the node's cookie is
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_EPMD_PORT": str(records.ports_now(folder)["epmd"]),
    }
    call = f"rabbit_disk_monitor set_disk_free_limit [{least_bytes}]"
    command = release.command(folder, "erl_call", "-sname", f"{name}@localhost", "-a", call)
    subprocess.run(command, env=environment, check=True, capture_output=True, timeout=120)


@dataclass(frozen=True, kw_only=True)
class Database:
    """SQLite in `folder`, or PostgreSQL when `server` names its folder. `bounded`: on a file system alone."""

    url: str
    folder: Path
    server: Path | None
    bounded: bool

    def kill(self) -> None:
        """SIGKILL for PostgreSQL's first process; the others follow it."""
        assert self.server is not None
        _kill(self.server)

    def start(self) -> None:
        """Start the server again when it is not running."""
        assert self.server is not None
        if not records.alive(self.server):
            local_postgres.start(self.server, fsync=False)

    def complained(self, dispatcher_log: str) -> bool:
        """Whether anybody ran into the full disk."""
        if self.server is None:
            return "dispatch_waited" in dispatcher_log
        return "No space left" in (self.server / "postgresql.log").read_text(errors="replace")

    @contextmanager
    def full(self) -> Iterator[None]:
        """No byte is free on the database's file system meanwhile; a server that this killed comes back."""
        ballast = self.folder / "ballast"
        try:
            with suppress(OSError), ballast.open("wb", buffering=0) as file:
                while True:
                    file.write(b"\0" * 4096)
            yield
        finally:
            ballast.unlink()
            if self.server is not None:
                self.start()


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """Makes `folder` a file system of `DISK_BYTES` when that is allowed; says whether it is."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "sluice-fault", str(folder)]
    mounted = (
        os.geteuid() == 0
        and shutil.which("mount") is not None
        and subprocess.run(command, check=False, capture_output=True).returncode == 0
    )
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _kill(folder: Path) -> None:
    record = records.read(folder)
    assert record is not None
    process, _ = record.started[-1]
    os.kill(process.pid, SIGKILL)
    wait_gone(process.pid, "the server")

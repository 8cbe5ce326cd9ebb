"""The listener's process, seen from the process whose metrics it shows."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from operators.memory import Memory

log = structlog.get_logger(__name__)

PROJECT = Path(__file__).resolve().parents[1]


@dataclass(kw_only=True)
class Listener:
    """Serves `memory` at `bind` (host:port) in a process of its own, which ends with the one that started it.

    `origin`: the address (host:port, or a socket's path) whose /healthz and /readyz are given on, over TLS
    when `tls`.
    """

    bind: str
    memory: Memory
    origin: str = ""
    tls: bool = False
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _starter: int = field(default=0, init=False)

    def start(self) -> None:
        """Start it; what prevents that is logged, since nothing else depends on it."""
        self._starter = os.getpid()
        command = [
            sys.executable,
            "-m",
            "operators.listener",
            self.bind,
            str(self.memory.file),
            str(os.getpid()),
        ]
        try:
            self._process = subprocess.Popen(
                [*command, self.origin, *(["tls"] if self.tls else [])],
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                pass_fds=[self.memory.file],
            )
        except OSError as error:
            log.error("operators_listener_not_started", error=str(error))

    def keep(self) -> None:
        """Start it again when it has ended. To be called when a child has ended; does nothing in forks."""
        if self._process is not None and os.getpid() == self._starter and self._process.poll() is not None:
            self.start()

    def stop(self) -> None:
        """End it."""
        process, self._process = self._process, None
        if process is not None and os.getpid() == self._starter:
            process.kill()
            process.wait()

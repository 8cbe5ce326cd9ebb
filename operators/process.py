"""The listener's process, seen from the process whose metrics it shows."""

import os
import socket
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from operators.memory import Memory
from operators.sockets import listen

log = structlog.get_logger(__name__)

PROJECT = Path(__file__).resolve().parents[1]


@dataclass(kw_only=True)
class Listener:
    """Serves `memory` at `bind` (host:port) in a process of its own, which ends with the one that started it.

    `origin`: the address (host:port, or a socket's path) whose /healthz and /readyz are given on, over TLS
    when `tls`. Without one they are answered by the signs of life in the memory.

    The socket is this process's, so the address can be reached from `start` on: whoever comes before the
    other process is there, at the start or after it was killed, waits for it.
    """

    bind: str
    memory: Memory
    origin: str = ""
    tls: bool = False
    _socket: socket.socket | None = field(default=None, init=False)
    _process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    _starter: int = field(default=0, init=False)

    def start(self) -> None:
        """Start it; what prevents that is logged, since nothing else depends on it."""
        self._starter = os.getpid()
        if self._socket is None:
            # An address that is taken, the other process waits for.
            with suppress(OSError):
                self._socket = listen(self.bind)
        files = [self.memory.file, *([self._socket.fileno()] if self._socket else [])]
        arguments = [
            self.bind,
            str(self._socket.fileno()) if self._socket else "",
            str(self.memory.file),
            str(os.getpid()),
            self.origin,
            "tls" if self.tls else "",
        ]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "operators.listener", *arguments],
                cwd=PROJECT,
                stdin=subprocess.DEVNULL,
                pass_fds=files,
            )
        except OSError as error:
            log.error("operators_listener_not_started", error=str(error))

    @property
    def address(self) -> str:
        """Where it is, with the port that it has got for port 0; empty while the address is another's."""
        if self._socket is None:
            return ""
        host, port = self._socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def keep(self) -> None:
        """Start it again when it has ended. To be called when a child has ended; does nothing in forks."""
        if self._process is not None and os.getpid() == self._starter and self._process.poll() is not None:
            self.start()

    def leave(self) -> None:
        """To be called in a fork, so that none keeps the address when this process has ended."""
        listening, self._socket = self._socket, None
        if listening is not None:
            listening.close()

    def stop(self) -> None:
        """End it."""
        process, self._process = self._process, None
        self.leave()
        if process is not None and os.getpid() == self._starter:
            process.kill()
            process.wait()

"""nginx as deploy/nginx has it, but for ports and folders."""

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.front import configuration
from deploy.local import ports
from tests.receiver import until


@contextlib.contextmanager
def running(program: str, folder: Path, receiver_port: int) -> Iterator[int]:
    """Its port."""
    [port] = ports.free(1)
    path = configuration(folder, port=port, receiver_port=receiver_port)
    process = subprocess.Popen([program, "-p", str(folder), "-c", str(path), "-e", str(folder / "nginx.log")])

    def listening() -> bool:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        return False

    try:
        until(listening, f"nginx ({folder / 'nginx.log'})")
        yield port
    finally:
        process.terminate()
        process.wait(30)

"""nginx as deploy/nginx has it, but for ports and folders."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.installation.nginx import configuration
from deploy.local import ports
from tests.receiver import stop, until


@contextlib.contextmanager
def running(program: str, folder: Path, receiver_port: int) -> Iterator[int]:
    """Its port."""
    [port] = ports.free(1)
    path = configuration(folder, port=port, receiver_port=receiver_port)
    process = subprocess.Popen(
        [program, "-p", str(folder), "-c", str(path), "-e", str(folder / "nginx.log")], start_new_session=True
    )
    try:
        until(lambda: ports.accepts(port), f"nginx ({folder / 'nginx.log'})")
        yield port
    finally:
        stop(process)

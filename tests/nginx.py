"""nginx as deploy/nginx has it, but for ports and folders."""

import contextlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

from bench.installation.nginx import configuration
from deploy.local import ports
from tests.receiver import stop, until

_TOLD = "    set_real_ip_from 127.0.0.1;\n    real_ip_header X-Forwarded-For;\n"


@contextlib.contextmanager
def running(program: str, folder: Path, receiver_port: int, *, tells_address: bool = False) -> Iterator[int]:
    """Its port. `tells_address`: a request comes from the address that its X-Forwarded-For names."""
    [port] = ports.free(1)
    path = configuration(folder, port=port, receiver_port=receiver_port)
    if tells_address:
        path.write_text(path.read_text().replace("http {", f"http {{\n{_TOLD}", 1))
    process = subprocess.Popen(
        [program, "-p", str(folder), "-c", str(path), "-e", str(folder / "nginx.log")], start_new_session=True
    )
    try:
        until(lambda: ports.accepts(port), f"nginx ({folder / 'nginx.log'})")
        yield port
    finally:
        stop(process)

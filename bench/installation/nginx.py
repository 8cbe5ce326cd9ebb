"""nginx in front of the receiver, as deploy/nginx has it but for ports and folders."""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from bench.installation.sluice import Sluice
from bench.places import ROOT
from deploy.local import install, ports

_KINDS = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


@contextlib.contextmanager
def running(sluice: Sluice) -> Iterator[tuple[int, int]]:
    """Its port and the pid of its master."""
    install.ensure("nginx")
    program = install.nginx()
    assert program is not None
    [port] = ports.free(1)
    folder = sluice.servers.folder / "nginx"
    folder.mkdir()
    path = configuration(folder, port=port, receiver_port=sluice.port)
    sluice.started.start("nginx", f"{program} -p {folder} -c {path} -e {folder / 'nginx.log'}")
    time.sleep(1.0)
    sluice.started.check()
    try:
        yield port, sluice.started.pid("nginx")
    finally:
        sluice.started.stop("nginx")


def configuration(folder: Path, *, port: int, receiver_port: int) -> Path:
    """Write one into the folder, where all of its files will be; nginx stays in the foreground."""
    text = (ROOT / "deploy" / "nginx" / "nginx.conf").read_text()
    text = text.replace("127.0.0.1:8080", f"{ports.HOST}:{receiver_port}")
    text = text.replace("listen 8081", f"listen {ports.HOST}:{port}")
    temporary = "\n".join(f"    {kind}_temp_path {folder / kind};" for kind in _KINDS)
    text = text.replace("http {", f"http {{\n{temporary}", 1)
    path = folder / "nginx.conf"
    path.write_text(f"daemon off;\npid {folder / 'pid'};\nerror_log {folder / 'nginx.log'};\n{text}")
    return path

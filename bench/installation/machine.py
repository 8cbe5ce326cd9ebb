"""What the figures were measured on."""

import os
import platform
import subprocess
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import psycopg

from bench.installation.servers import POSTGRES_SETTINGS, Servers, plain
from bench.places import ROOT

_PACKAGES = ("celery", "flask", "gunicorn", "kombu", "psycopg", "pyarrow", "rstream", "sqlalchemy")


def describe(servers: Servers, *, quick: bool) -> dict[str, Any]:
    """Machine, versions, settings of the servers, load of the machine when the run began."""
    with psycopg.connect(plain(servers.postgres.url)) as connection:
        row = connection.execute("SHOW server_version").fetchone()
    assert row is not None
    return {
        "quick": quick,
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "commit": _commit(),
        "machine": {
            "cpu": _cpu(),
            "cores": os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "kernel": platform.release(),
            "load_before": os.getloadavg()[0],
        },
        "versions": {
            "python": platform.python_version(),
            "rabbitmq": _rabbitmq(servers.folder / "rabbitmq"),
            "postgresql": str(row[0]).split()[0],
            **{name: version(name) for name in _PACKAGES},
        },
        "postgresql_settings": POSTGRES_SETTINGS,
    }


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _rabbitmq(folder: Path) -> str:
    for log in (folder / "log").glob("*.log"):
        for line in log.read_text(errors="replace").splitlines():
            if "Starting RabbitMQ" in line:
                return line.partition("Starting RabbitMQ")[2].split()[0]
    return "unknown"


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"

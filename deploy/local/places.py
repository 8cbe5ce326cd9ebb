"""Where a run keeps its things, and the environment that its processes see."""

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deploy.local import leftovers

DEMO_CUSTOMERS = ("demo-a", "demo-b")


@dataclass(frozen=True, slots=True)
class Places:
    """The folders of one clone; `root` is where Procfile and alembic.ini lie."""

    root: Path

    @property
    def var(self) -> Path:
        return self.root / "var"

    @property
    def logs(self) -> Path:
        return self.var / "log"

    @property
    def node(self) -> Path:
        return self.var / "rabbitmq"

    @property
    def key_files(self) -> dict[str, Path]:
        return {slug: self.var / "keys" / slug for slug in DEMO_CUSTOMERS}

    @property
    def database(self) -> str:
        return os.environ.get("DATABASE_URL") or f"sqlite:///{self.var / 'sluice.db'}"


class HalfGiven(ValueError):
    """Only one of the broker's two URLs is set."""


def given_broker() -> tuple[str, str] | None:
    """BROKER_URL and STREAM_URL when the environment names a broker that exists. Raises HalfGiven."""
    amqp, stream = os.environ.get("BROKER_URL"), os.environ.get("STREAM_URL")
    if amqp and stream:
        return amqp, stream
    if amqp or stream:
        missing = "STREAM_URL" if amqp else "BROKER_URL"
        raise HalfGiven(f"set {missing} too: BROKER_URL and STREAM_URL name the two doors of one broker")
    return None


def variables(database: str, *, amqp: str, stream: str, receiver: str, operators: str) -> dict[str, str]:
    """What every command needs to reach this run; holds passwords."""
    return {
        "DATABASE_URL": database,
        "BROKER_URL": amqp,
        "STREAM_URL": stream,
        "FLASK_APP": "webapp:create_app",
        "SLUICE_URL": receiver,
        "SLUICE_HTTP_BIND": receiver.removeprefix("http://"),
        "SLUICE_HTTP_METRICS_BIND": operators.removeprefix("http://"),
        # Of those that somebody starts beside the run's own: any free port, which their log names.
        "SLUICE_TASK_DISPATCHER_METRICS_BIND": "127.0.0.1:0",
        "SLUICE_TASK_WORKER_METRICS_BIND": "127.0.0.1:0",
    }


def for_processes(mark: str) -> dict[str, str]:
    """The environment of everything that is started but the node."""
    scripts = str(Path(sys.executable).parent)
    return {
        **os.environ,
        "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
        "PYTHONUNBUFFERED": "1",
        "SPT_NOENV": "1",  # setproctitle must not write its titles over the mark
        leftovers.MARK: mark + leftovers.PROCESSES,
    }


def for_metrics(addresses: Mapping[str, str]) -> dict[str, str]:
    """Where the run's own dispatcher and worker show their metrics."""
    return {
        f"SLUICE_TASK_{name.upper()}_METRICS_BIND": addresses[name].removeprefix("http://")
        for name in ("dispatcher", "worker")
    }


def told(metrics: Mapping[str, str]) -> str:
    """The addresses of the metrics in a line: the receiver's, and the ports of the others."""
    receiver, *others = metrics
    ports = ", ".join(f"{name} :{metrics[name].rpartition(':')[2]}" for name in others)
    return f"{metrics[receiver]}/metrics ({ports})"


def for_doctor(management: str | None) -> dict[str, str]:
    """What `flask doctor` asks beside the rest. No process of the run reads it."""
    return {"MANAGEMENT_URL": management} if management else {}


def for_flower(port: int, management: str | None) -> dict[str, str]:
    """The management URL goes by the environment: everybody can read a command line."""
    broker_api = {"FLOWER_BROKER_API": f"{management.rstrip('/')}/api/"} if management else {}
    return {"FLOWER_PORT": str(port), **broker_api}

"""The commands of deploy/systemd: as another user, on a read-only project, with small temporary folders."""

import json
import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from deploy.local import ports
from deploy.local.rabbitmq import RabbitNode
from tests import units
from tests.integration.test_whole import event, ndjson, settled
from tests.notified import Notices, listening
from tests.receiver import bare_environment
from tests.whole import Whole, until

pytestmark = [
    pytest.mark.timeout(900),
    pytest.mark.usefixtures("systemd_analyze"),
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can run a service as another user"),
]


@dataclass(kw_only=True)
class Services:
    """Services that were started as systemd would; `whole` sees to their end."""

    whole: Whole
    urls: dict[str, str]
    settings: dict[str, str]
    notices: dict[str, Notices] = field(default_factory=dict)

    def start(self, name: str, notices: Notices | None = None, *words: str) -> int:
        told = notices.environment if notices else {}
        process = units.start(
            units.unit(name), self.urls, self.settings | told, self.whole.folder / f"{name}.log", *words
        )
        self.whole.processes[name] = process
        return process.pid

    def refused_machine_code(self, name: str) -> int:
        """The exit code of the service where nothing that was written may be executed."""
        lines = tuple(line for line in units.unit(name).lines if line[0] != "MemoryDenyWriteExecute")
        confined = replace(units.unit(name), lines=(*lines, ("MemoryDenyWriteExecute", "yes")))
        log = self.whole.folder / f"{name}.log"
        self.whole.processes[name] = units.start(confined, self.urls, self.settings, log)
        return self.whole.processes.pop(name).wait(300)

    def run(self, name: str, *words: str) -> None:
        """A command to its end."""
        self.start(name, None, *words)
        assert self.whole.processes.pop(name).wait(300) == 0, self.whole.log(name)


@pytest.fixture
def services(tmp_path: Path, rabbitmq: RabbitNode, postgresql_url: str) -> Iterator[Services]:
    urls = {"database": postgresql_url, "broker": rabbitmq.amqp_url, "stream": rabbitmq.stream_url}
    environment = bare_environment()
    environment |= {
        "DATABASE_URL": postgresql_url,
        "BROKER_URL": rabbitmq.amqp_url,
        "STREAM_URL": rabbitmq.stream_url,
    }
    whole = Whole(folder=tmp_path, environment=environment)
    (flower,) = ports.free(1)
    settings = {
        "SLUICE_HTTP_BIND": f"127.0.0.1:{whole.port}",
        "SLUICE_HTTP_METRICS_BIND": f"127.0.0.1:{whole.operators_port}",
        "SLUICE_TASK_DISPATCHER_METRICS_BIND": "127.0.0.1:0",
        "SLUICE_TASK_WORKER_METRICS_BIND": "127.0.0.1:0",
        "FLOWER_PORT": str(flower),
        "SLUICE_LOG_FORMAT": "json",
    }
    try:
        yield Services(whole=whole, urls=urls, settings=settings)
    finally:
        whole.stop()


def test_the_units_commands_accept_dispatch_and_deposit(services: Services, slug: str) -> None:
    whole = services.whole
    services.run("sluice-migrate.service")
    key = whole.add_customer(slug)
    names = (
        "sluice-receiver.service",
        "sluice-dispatcher@1.service",
        "sluice-worker.service",
        f"sluice-worker@{slug}.service",
    )
    with ExitStack() as stack:
        told = {}
        for name in names:
            told[name] = stack.enter_context(listening(f"@sluice-test-{secrets.token_hex(8)}"))
            services.start(name, told[name])
        services.start("sluice-flower.service")
        for name, notices in told.items():
            until(lambda: notices.count("READY=1") == 1, f"{name} to be ready ({whole.folder})")  # noqa: B023
        flower = int(services.settings["FLOWER_PORT"])
        until(lambda: ports.accepts(flower), "Flower to listen")

        assert whole.post_batch(key, ndjson(event(secrets.token_hex(16)))).status == 202
        until(lambda: settled(whole, slug), "balanced books")
        assert whole.books(slug)["customers"][0]["deposited"] == 1
        for name, notices in told.items():
            until(lambda: notices.count("WATCHDOG=1") > 1, f"{name} to beat")  # noqa: B023
        for name, notices in told.items():
            whole.kill(name, signal.SIGTERM)
            until(lambda: notices.count("STOPPING=1") == 1, f"{name} to say that it stops")  # noqa: B023
    for name in ("sluice-receiver.service", "sluice-dispatcher@1.service"):
        for line in whole.log(name).splitlines():
            assert json.loads(line)["level"] in ("info", "warning"), line
    # Celery prints a banner and its farewell; all that it logs is JSON.
    assert '"event": "shared@' in whole.log("sluice-worker.service")
    assert "INFO/MainProcess" not in whole.log("sluice-worker.service")


def test_a_worker_stops_where_no_machine_code_may_be_made(services: Services) -> None:
    assert services.refused_machine_code("sluice-worker.service") == 6
    log = services.whole.log("sluice-worker.service")
    assert '"event": "machine_code_refused"' in log
    assert "executable memory" in log

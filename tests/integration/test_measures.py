"""What a dispatcher and a worker show their operators while they work."""

import os
import secrets
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from deploy.local import ports
from deploy.local.rabbitmq import RabbitNode
from tests.integration.test_health import children_of
from tests.integration.test_whole import event, ndjson
from tests.measured import Scrape, ask, scraped
from tests.whole import Whole, until

pytestmark = pytest.mark.timeout(600)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """An installation whose dispatcher and worker show their metrics."""

    whole: Whole
    dispatcher_port: int
    worker_port: int

    def dispatcher(self) -> Scrape:
        return scraped(self.dispatcher_port)

    def worker(self) -> Scrape:
        return scraped(self.worker_port)


@pytest.fixture(scope="module")
def shown(
    sqlite_template: Path, rabbitmq: RabbitNode, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shown]:
    folder = tmp_path_factory.mktemp("shown")
    (folder / "sluice.db").write_bytes(sqlite_template.read_bytes())
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    urls = {
        "DATABASE_URL": f"sqlite:///{folder / 'sluice.db'}",
        "BROKER_URL": rabbitmq.amqp_url,
        "STREAM_URL": rabbitmq.stream_url,
    }
    dispatcher_port, worker_port = ports.free(2)
    addresses = {
        "SLUICE_TASK_DISPATCHER_METRICS_BIND": f"127.0.0.1:{dispatcher_port}",
        "SLUICE_TASK_WORKER_METRICS_BIND": f"127.0.0.1:{worker_port}",
    }
    whole = Whole(folder=folder, environment=environment | urls)
    try:
        whole.start("receiver")
        whole.start("dispatcher", **addresses)
        whole.start("worker", "-n", f"shown-{worker_port}@%h", **addresses)
        until(whole.ready, "the receiver to be ready")
        until(lambda: ask(worker_port, "/readyz")[0] == 200, "the worker to be ready")
        yield Shown(whole=whole, dispatcher_port=dispatcher_port, worker_port=worker_port)
    finally:
        whole.stop()


def test_what_is_dispatched_and_deposited_is_counted(shown: Shown, slug: str) -> None:
    key = shown.whole.add_customer(slug)
    good = [event(secrets.token_hex(16)) for _ in range(3)]
    for number in range(4):
        body = ndjson(*good, {"trace_id": "no trace id"})
        assert shown.whole.post_batch(key, body, Idempotency_Key=f"one-{number}").status == 202
    assert shown.whole.post_batch(key, body, Idempotency_Key="one-3").status == 202

    def deposited() -> Scrape | None:
        worker = shown.worker()
        return worker if worker.value("sluice_deposited_batches_total", customer=slug) == 4 else None

    worker = until(deposited, "four batches to be deposited")
    assert worker.value("sluice_deposited_events_total", customer=slug) == 16
    assert worker.total("sluice_rejected_events_total", customer=slug) == 4
    assert worker.total("sluice_deliveries_total", customer=slug, kind="first") >= 1
    for stage in ("decode", "process", "deposit"):
        assert (worker.value("sluice_stage_seconds_total", customer=slug, stage=stage) or 0) > 0
    assert worker.total("sluice_deposit_lag_seconds_count") >= 1

    def dispatched() -> Scrape | None:
        dispatcher = shown.dispatcher()
        return dispatcher if dispatcher.value("sluice_duplicate_batches_total", customer=slug) else None

    dispatcher = until(dispatched, "the duplicate to be counted")
    assert dispatcher.value("sluice_dispatched_batches_total", customer=slug) == 4
    assert (dispatcher.value("sluice_dispatched_bytes_total", customer=slug) or 0) > 0
    assert dispatcher.value("sluice_leases") == len(dispatcher.customers() - {"_other"})


def test_the_counts_of_a_killed_child_remain(shown: Shown, slug: str) -> None:
    key = shown.whole.add_customer(slug)

    def deposit(number: int) -> None:
        body = ndjson(event(secrets.token_hex(16)))
        assert shown.whole.post_batch(key, body).status == 202
        until(
            lambda: shown.worker().value("sluice_deposited_batches_total", customer=slug) == number,
            f"deposit {number}",
        )

    deposit(1)
    worker = shown.whole.processes["worker"].pid
    pool = [
        one for one in children_of(worker) if b"operators" not in Path(f"/proc/{one}/cmdline").read_bytes()
    ]
    assert pool
    for child in pool:
        os.kill(child, signal.SIGKILL)
    deposit(2)


def test_both_say_how_they_are(shown: Shown) -> None:
    for port in (shown.dispatcher_port, shown.worker_port):
        assert ask(port, "/healthz")[0] == 200
        until(lambda port=port: ask(port, "/readyz")[0] == 200, "it to be ready")  # type: ignore[misc]
    assert shown.dispatcher().total("sluice_process_info", process="dispatcher") == 1
    assert shown.worker().total("sluice_process_info", process="worker") == 1
    assert shown.worker().total("sluice_loop_delay_seconds_count") >= 1

"""What a dispatcher and a worker show their operators while they work."""

import os
import secrets
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from functools import partial
from operator import eq
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploy.grafana.write import DASHBOARDS
from deploy.local import ports
from deploy.local.rabbitmq import RabbitNode
from tests.integration.test_health import children_of
from tests.integration.test_whole import event, ndjson
from tests.measured import Scrape, ask, scraped
from tests.prometheus import scraping
from tests.receiver import bare_environment
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
    environment = bare_environment()
    urls = {
        "DATABASE_URL": f"sqlite:///{folder / 'sluice.db'}",
        "BROKER_URL": rabbitmq.amqp_url,
        "STREAM_URL": rabbitmq.stream_url,
    }
    dispatcher_port, worker_port = ports.free(2)
    addresses = {
        "SLUICE_TASK_DISPATCHER_METRICS_BIND": f"127.0.0.1:{dispatcher_port}",
        "SLUICE_TASK_WORKER_METRICS_BIND": f"127.0.0.1:{worker_port}",
        "SLUICE_TASK_MEASURE_EVERY_S": "0.5",
        "SLUICE_TASK_OWED_TARGET_S": "1",
        "SLUICE_TASK_STALE_AFTER_S": "3",
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


def pool(shown: Shown) -> list[int]:
    """The worker's processes that work."""
    children = children_of(shown.whole.processes["worker"].pid)
    found = [one for one in children if b"operators" not in Path(f"/proc/{one}/cmdline").read_bytes()]
    assert len(found) == 2
    return found


def measured(shown: Shown, of: str, condition: Callable[[float], bool], slug: str) -> float:
    """The customer's figure, as soon as it is so."""

    def value() -> tuple[float] | None:
        found = shown.dispatcher().value(of, customer=slug)
        return None if found is None or not condition(found) else (found,)

    found: tuple[float] = until(value, f"{of} of {slug}")
    return found[0]


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


def test_windows_that_share_a_doorbell_are_counted(shown: Shown, slug: str) -> None:
    keys = [shown.whole.add_customer(f"{slug}-{letter}") for letter in "abc"]

    def shared() -> float:
        for key in keys:
            assert shown.whole.post_batch(key, ndjson(event(secrets.token_hex(16)))).status == 202
        return shown.worker().value("sluice_grouped_windows_total", outcome="deposited") or 0

    until(shared, "batches of several customers that are dispatched at once")


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
    for child in pool(shown):
        os.kill(child, signal.SIGKILL)
    deposit(2)


def test_both_say_how_they_are(shown: Shown) -> None:
    for port in (shown.dispatcher_port, shown.worker_port):
        assert ask(port, "/healthz")[0] == 200
        until(lambda port=port: ask(port, "/readyz")[0] == 200, "it to be ready")  # type: ignore[misc]
    assert shown.dispatcher().total("sluice_process_info", process="dispatcher") == 1
    assert shown.worker().total("sluice_process_info", process="worker") == 1
    assert shown.worker().total("sluice_loop_delay_seconds_count") >= 1


def test_what_waits_for_workers_is_owed_and_wants_more_of_them(shown: Shown, slug: str) -> None:
    key = shown.whole.add_customer(slug)
    until(lambda: shown.dispatcher().value("sluice_worker_processes", queue="shared") == 2, "both processes")
    # A process that is stopped in a transaction would hold the database's lock.
    until(lambda: shown.dispatcher().total("sluice_owed_batches") == 0, "everybody's batches to be deposited")
    stopped = pool(shown)
    try:
        for child in stopped:
            os.kill(child, signal.SIGSTOP)
        for _ in range(3):
            assert shown.whole.post_batch(key, ndjson(event(secrets.token_hex(16)))).status == 202
        measured(shown, "sluice_owed_batches", lambda owed: owed == 3, slug)
        measured(shown, "sluice_oldest_owed_seconds", lambda age_s: age_s > 1, slug)
        assert measured(shown, "sluice_windows_in_flight", lambda windows: windows >= 1, slug) <= 3
        assert measured(shown, "sluice_owed_bytes", lambda size: size > 0, slug) > 100
        assert measured(shown, "sluice_owed_expiry_seconds", lambda left_s: left_s > 0, slug) > 3_600
        until(
            lambda: (shown.dispatcher().value("sluice_workers_wanted", queue="shared") or 0) > 2,
            "more processes to be wanted",
        )
        measured(shown, "sluice_windows_rung_again_total", lambda windows: windows >= 1, slug)
    finally:
        for child in stopped:
            os.kill(child, signal.SIGCONT)
    measured(shown, "sluice_oldest_owed_seconds", lambda age_s: age_s == 0, slug)
    measured(shown, "sluice_owed_batches", lambda owed: owed == 0, slug)


def test_what_a_paused_customer_sends_is_owed_though_nothing_is_in_flight(shown: Shown, slug: str) -> None:
    key = shown.whole.add_customer(slug)
    shown.whole.flask("customers", "pause", slug)
    until(
        lambda: shown.dispatcher().value("sluice_customer_state", customer=slug, state="paused"),
        "the state to be seen",
    )

    def posted() -> bool:
        # The first ones may be dispatched still: dispatchers look at states now and then.
        assert shown.whole.post_batch(key, ndjson(event(secrets.token_hex(16)))).status == 202
        return (shown.dispatcher().value("sluice_owed_batches", customer=slug) or 0) >= 3

    until(posted, "what was not dispatched")
    measured(shown, "sluice_windows_in_flight", lambda windows: windows == 0, slug)
    measured(shown, "sluice_oldest_owed_seconds", lambda age_s: age_s > 0, slug)
    assert measured(shown, "sluice_stream_batches", lambda held: held >= 3, slug) >= 3
    shown.whole.flask("customers", "resume", slug)
    measured(shown, "sluice_owed_batches", lambda owed: owed == 0, slug)


def test_books_that_differ_are_seen(shown: Shown, slug: str) -> None:
    key = shown.whole.add_customer(slug)
    assert shown.whole.post_batch(key, ndjson(event(secrets.token_hex(16)))).status == 202
    measured(shown, "sluice_stream_batches", lambda held: held == 1, slug)
    measured(shown, "sluice_owed_batches", lambda owed: owed == 0, slug)
    path = shown.whole.environment["DATABASE_URL"].removeprefix("sqlite:///")
    tamper = (
        "UPDATE dispatch SET duplicates = duplicates + ?"
        " WHERE customer_id = (SELECT id FROM customers WHERE slug = ?)"
    )
    with closing(sqlite3.connect(path, timeout=60)) as connection:
        for change, expected in ((1, 1.0), (-1, 0.0)):
            with connection:
                connection.execute(tamper, (change, slug))
            measured(shown, "sluice_books_differences", partial(eq, expected), slug)
    until(
        lambda: (shown.dispatcher().value("sluice_books_checked_timestamp_seconds") or 0) > 0, "a whole round"
    )


def test_quarantine_is_measured(shown: Shown, slug: str) -> None:
    key = shown.whole.add_customer(slug)
    assert shown.whole.post_batch(key, b"neither one event nor another\n").status == 202
    measured(shown, "sluice_quarantine_rows", lambda rows: rows == 1, slug)
    assert measured(shown, "sluice_quarantine_day_bytes", lambda size: size > 0, slug) < 100


def test_one_dispatcher_of_two_measures(shown: Shown) -> None:
    [port] = ports.free(1)
    second = {
        "SLUICE_TASK_DISPATCHER_METRICS_BIND": f"127.0.0.1:{port}",
        "SLUICE_TASK_MEASURE_EVERY_S": "0.5",
    }
    shown.whole.start("second", role="dispatcher", **second)

    def measuring() -> list[float | None]:
        return [scrape.value("sluice_measuring") for scrape in (shown.dispatcher(), scraped(port))]

    until(lambda: sorted(one for one in measuring() if one is not None) == [0, 1], "one of them to measure")
    idle = port if measuring()[0] else shown.dispatcher_port
    assert not [name for name, _ in scraped(idle).series if name == "sluice_owed_batches"]
    shown.whole.kill("second", signal.SIGTERM)
    until(lambda: shown.dispatcher().value("sluice_measuring") == 1, "the first to measure")


def test_each_panel_of_the_dashboards_shows_something(
    shown: Shown, rabbitmq: RabbitNode, prometheus_program: str, tmp_path: Path, slug: str
) -> None:
    key = shown.whole.add_customer(slug)
    queries = [
        (query.expr.replace("$customer", slug), query.often_empty)
        for dashboard in DASHBOARDS
        for row in dashboard.rows
        for panel in row.panels
        for query in panel.queries
    ]
    targets = {
        "sluice-receiver": shown.whole.operators_port,
        "sluice-dispatcher": shown.dispatcher_port,
        "sluice-worker": shown.worker_port,
        "sluice-rabbitmq": urlsplit(rabbitmq.prometheus_url).port or 0,
    }
    with scraping(prometheus_program, tmp_path / "prometheus", targets) as prometheus:
        missing = {expression for expression, often_empty in queries if not often_empty}

        def seen() -> bool:
            body = ndjson(event(secrets.token_hex(16)))
            assert shown.whole.post_batch(key, body).status == 202
            missing.difference_update([one for one in missing if prometheus.series(one)])
            return not missing

        with suppress(AssertionError):
            until(seen, "data", deadline_s=180)
        assert not missing, "\n".join(sorted(missing))
        for expression, often_empty in queries:
            if often_empty:
                prometheus.series(expression)  # or Prometheus refuses it

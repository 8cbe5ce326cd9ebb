"""Each alert that a fault can be made for fires at it, in a Prometheus that watches an installation."""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from signal import SIGKILL

import pytest
from kombu import Connection, Queue
from sqlalchemy import text

from deploy.local.rabbitmq import RabbitNode
from tests.fault.servers import Database, limit_free_disk, start_broker, stop_broker
from tests.fault.watched import FIRES_WITHIN_S, SILENT_WITHIN_S, Watched, watching
from tests.unit.test_alerts import alerts
from tests.whole import until

pytestmark = [
    pytest.mark.fault,
    pytest.mark.timeout(900),
]
UNFIT = b"\xff\xfe no batch"
DISK_LIMIT = 500_000_000  # that of private nodes
NO_FAULT_IS_MADE = {
    "SluiceBatchesExpired": "retention would have to remove a segment of a stream, which takes megabytes",
    "SluiceBooksUnchecked": "books would have to take longer than 5 s to check",
    "SluiceBreakerOpen": "only its scene is tried, and the opening of the breaker without Prometheus",
    "SluiceDatabaseWaits": "a pool that waits for connections needs a database at its limit",
    "SluicePartitionsMissing": "dispatchers make a partition again as soon as it is missing",
    "SluiceWalLarge": "16 GiB of WAL",
}


@pytest.fixture(scope="module")
def watched(
    node: RabbitNode, database: Database, prometheus_program: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    folder: Path = tmp_path_factory.mktemp("watched")
    with watching(folder, prometheus_program, node, database) as found:
        yield found


@contextmanager
def _dispatcher_gone(watched: Watched) -> Iterator[None]:
    watched.installation.retire("dispatcher", SIGKILL)
    try:
        yield
    finally:
        watched.installation.start("dispatcher", None, **watched.addresses["dispatcher"])


@contextmanager
def _dispatcher_stopped(watched: Watched) -> Iterator[None]:
    with watched.stopped(watched.installation.whole.processes["dispatcher"].pid):
        yield


@contextmanager
def _children_stopped(watched: Watched) -> Iterator[None]:
    """The worker's parent goes on."""
    with watched.stopped(*watched.installation.children("worker")):
        yield


@contextmanager
def _children_were_stopped(watched: Watched) -> Iterator[None]:
    with _children_stopped(watched):
        time.sleep(10)
    yield


@contextmanager
def _worker_gone(watched: Watched) -> Iterator[None]:
    """Killed with its children, so that nothing says that it is gone."""
    installation = watched.installation
    pids = installation.children("worker")
    installation.retire("worker", SIGKILL)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            installation.kill(pid, SIGKILL)
    try:
        yield
    finally:
        name = f"again-{time.monotonic_ns()}@%h"
        installation.start("worker", None, "-n", name, **watched.addresses["worker"])


@contextmanager
def _worker_stumbles(watched: Watched) -> Iterator[None]:
    with watched.stumbling(watched.installation.whole.processes["worker"].pid, 2.5):
        yield


@contextmanager
def _broker_stumbles(watched: Watched) -> Iterator[None]:
    with watched.stumbling(watched.node.pid, 1.0):
        yield


@contextmanager
def _disk_alarm(watched: Watched) -> Iterator[None]:
    limit_free_disk(watched.node.folder, 10**15)
    try:
        yield
    finally:
        limit_free_disk(watched.node.folder, DISK_LIMIT)


@contextmanager
def _broker_gone(watched: Watched) -> Iterator[None]:
    stop_broker(watched.node.folder)
    try:
        yield
    finally:
        start_broker(watched.node.folder)


@contextmanager
def _broker_was_gone(watched: Watched) -> Iterator[None]:
    with _broker_gone(watched):
        time.sleep(3)
    yield


@contextmanager
def _database_gone(watched: Watched) -> Iterator[None]:
    watched.database.kill()
    try:
        yield
    finally:
        watched.database.start()


@contextmanager
def _stream_gone(watched: Watched) -> Iterator[None]:
    """The results of a customer have no stream to go to."""
    slug = watched.customer()
    with Connection(watched.node.amqp_url) as connection, connection.channel() as channel:
        channel.queue_delete(f"processed.{slug}")
    yield


@contextmanager
def _limited(watched: Watched) -> Iterator[None]:
    watched.flask("customers", "limit", watched.customer(), "--batches-per-second", "1")
    yield


@contextmanager
def _throttled(watched: Watched) -> Iterator[None]:
    slug = watched.customer()
    watched.flask("customers", "limit", slug, "--events-per-second", "1")
    yield
    watched.flask("customers", "limit", slug, "--events-per-second", "none")


@contextmanager
def _paused(watched: Watched) -> Iterator[None]:
    slug = watched.customer()
    watched.flask("customers", "pause", slug)
    yield
    watched.flask("customers", "resume", slug)


@contextmanager
def _old_key(watched: Watched) -> Iterator[None]:
    watched.keys["nobody"] = "slk_" + "0" * 43
    yield


@contextmanager
def _child_dies(watched: Watched) -> Iterator[None]:
    watched.installation.arm("deposit-uncommitted", SIGKILL)
    watched.installation.fired("deposit-uncommitted")
    yield


@contextmanager
def _some_unfit(watched: Watched) -> Iterator[None]:
    """Too few for the breaker, too many for the budget."""
    slug = watched.customer()
    watched.flask("customers", "limit", slug, "--quarantine-daily-bytes", "100")
    for number in range(15):
        with contextlib.suppress(OSError):
            watched.installation.whole.post_batch(watched.keys[slug], UNFIT + b"%d" % number)
        time.sleep(0.2)
    yield


@contextmanager
def _tampered(watched: Watched) -> Iterator[None]:
    slug = watched.customer()
    change = "UPDATE dispatch SET duplicates = duplicates + :change WHERE customer_id ="
    change += " (SELECT id FROM customers WHERE slug = :slug)"
    for by in (1, -1):
        with watched.installation.engine.begin() as connection:
            connection.execute(text(change), {"change": by, "slug": slug})
        if by == 1:
            yield


@contextmanager
def _queue_of_others(watched: Watched) -> Iterator[None]:
    slug = watched.installation.customers(1)
    [name] = slug
    with Connection(watched.node.amqp_url) as connection, connection.channel() as channel:
        queue = Queue(
            f"customer-{name}", queue_arguments={"x-max-length": 0, "x-overflow": "reject-publish"}
        ).bind(channel)
        queue.delete()
        queue.queue_declare()
        watched.keys |= slug
        yield
        queue.delete()


# What an earlier fault made late or refuse counts for long: these may fire before their own fault begins.
LINGERING = {
    "SluiceFreshnessBudgetBurnsFast",
    "SluiceFreshnessBudgetBurnsSlowly",
    "SluiceAcceptanceBudgetBurnsSlowly",
    "SluiceOwedExpiresWithinADay",
    "SluiceOwedExpiresWithinHours",
}
Begun = Callable[[Watched], AbstractContextManager[None]]
FAULTS: list[tuple[Begun, set[str]]] = [
    (_children_were_stopped, {"SluiceFreshnessBudgetBurnsFast", "SluiceFreshnessBudgetBurnsSlowly"}),
    (_dispatcher_gone, {"SluiceProcessDown", "SluiceProcessesGone"}),
    (_dispatcher_stopped, {"SluiceLoopStuck", "SluiceNotMeasured"}),
    (
        _children_stopped,
        {"SluiceNothingDeposited", "SluiceOwedTooLong", "SluiceWindowsRungAgain", "SluiceTooFewWorkers"},
    ),
    (_worker_gone, {"SluicePeerSilent", "SluiceQueueUnserved"}),
    (_worker_stumbles, {"SluiceLoopLate"}),
    (_broker_stumbles, {"SluiceConfirmsSlow"}),
    (_broker_gone, {"SluiceAcceptanceBudgetBurnsFast", "SluiceAcceptanceBudgetBurnsSlowly"}),
    (_disk_alarm, {"SluiceBrokerAlarm", "SluiceBrokerDiskFills"}),
    (_broker_was_gone, {"SluiceReconnectsOften"}),
    (_database_gone, {"SluiceDispatchWaits"}),
    (_stream_gone, {"SluiceTasksFail"}),
    (_limited, {"SluiceCustomerLimited"}),
    (_old_key, {"SluiceKeysRefused"}),
    (_child_dies, {"SluiceDeaths"}),
    (_throttled, {"SluiceThrottledForLong"}),
    (_paused, {"SluiceOwedExpiresWithinADay", "SluiceOwedExpiresWithinHours"}),
    (
        _some_unfit,
        {"SluiceMuchQuarantined", "SluiceQuarantineBudgetNearlyUsed", "SluiceQuarantineWithheld"},
    ),
    (_tampered, {"SluiceBooksDiffer"}),
    (_queue_of_others, {"SluiceQueueRefused"}),
]


def test_every_alert_has_a_fault_or_a_reason() -> None:
    made = {name for _, names in FAULTS for name in names}
    assert made | set(NO_FAULT_IS_MADE) == set(alerts())
    assert not made & set(NO_FAULT_IS_MADE)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="module")
@pytest.mark.parametrize(("fault", "names"), FAULTS, ids=[fault.__name__.strip("_") for fault, _ in FAULTS])
def test_an_alert_fires_at_its_fault(watched: Watched, fault: Begun, names: set[str]) -> None:
    until(watched.well, "all processes to be well", deadline_s=SILENT_WITHIN_S)
    until(
        lambda: not (names - LINGERING) & watched.firing(),
        f"{names} to be silent",
        deadline_s=SILENT_WITHIN_S,
    )
    seen: set[str] = set()
    customers = dict(watched.keys)

    def fired() -> bool:
        seen.update(watched.firing())
        return names <= seen

    with fault(watched):
        with contextlib.suppress(AssertionError):
            until(fired, "alerts", deadline_s=FIRES_WITHIN_S)
        assert names <= seen, (names - seen, seen)
    watched.keys.clear()
    watched.keys.update(customers)  # those of the fault send no more

"""Batches that crash whoever works on them: each costs itself and nothing else."""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import text

from db.engine import connect, read
from db.settings import DatabaseSettings
from deploy.local.postgres import PostgresServer
from deploy.local.rabbitmq import RabbitNode
from tests.integration.test_whole import event, ndjson, settled
from tests.poisoned import SECRET
from tests.whole import Whole, running, until

GOOD = 7
REASONS = {
    "decode-kill": "worker_died",
    "decode-loop": "time_limit",
    "decode-memory": "unexpected_error",
    "process-abort": "worker_died",
    "process-error": "unexpected_error",
    "process-wait": "time_limit",
    "deposit-kill": "worker_died",
    "deposit-limit": "unexpected_error",
}
NEIGHBOUR = "neighbour"
ROUTED = "process-abort"  # decoded and processed in tasks of their own; the others in one
ON_POSTGRESQL = ("decode-kill", "deposit-kill")
# Eight kinds of poison, each tried several times, wait for two processes: the first test waits for most.
DEADLINE_S = 300.0
pytestmark = pytest.mark.timeout(600)
SETTINGS = {
    "SLUICE_TASK_LINGER_MS": "2000",
    "SLUICE_TASK_PROCESSOR_LIMIT_S": "4",
    "SLUICE_TASK_TASK_TIME_LIMIT_S": "10",
    # Long: what is owed comes back by the parent's mark, not by the dispatcher's bell.
    "SLUICE_TASK_STALE_AFTER_S": "60",
}


class Crowd(NamedTuple):
    """A worker's customers: one for each kind of poison, and a neighbour with none."""

    whole: Whole
    slugs: dict[str, str]
    guilty: dict[str, bytes]


@pytest.fixture(scope="module")
def on_sqlite(
    sqlite_template: Path, rabbitmq: RabbitNode, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Crowd]:
    folder = tmp_path_factory.mktemp("crowd")
    (folder / "sluice.db").write_bytes(sqlite_template.read_bytes())
    with _crowd(folder, f"sqlite:///{folder / 'sluice.db'}", rabbitmq, list(REASONS)) as crowd:
        yield crowd


@pytest.fixture(scope="module")
def on_postgresql(
    postgres: PostgresServer,
    postgresql_template: str,
    rabbitmq: RabbitNode,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Crowd]:
    name = f"poison_{secrets.token_hex(6)}"
    url = postgres.create_database(name, template=postgresql_template)
    with _crowd(tmp_path_factory.mktemp("crowd"), url, rabbitmq, ON_POSTGRESQL) as crowd:
        yield crowd
    postgres.drop_database(name)


@contextmanager
def _crowd(folder: Path, database_url: str, rabbitmq: RabbitNode, kinds: Sequence[str]) -> Iterator[Crowd]:
    name = secrets.token_hex(6)
    urls = {"database_url": database_url, "amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    with running(folder, **urls, worker="poisoned", **SETTINGS) as whole:
        slugs = {kind: f"{kind}-{name}" for kind in (*kinds, NEIGHBOUR)}
        keys = {kind: whole.add_customer(slug) for kind, slug in slugs.items()}
        if ROUTED in slugs:
            whole.flask("customers", "route", slugs[ROUTED], "process", f"{slugs[ROUTED]}-process")
        guilty = {kind: ndjson(event(secrets.token_hex(16), service=f"poison-{kind}")) for kind in kinds}
        for number in range(GOOD):
            for kind, key in keys.items():
                assert whole.post_batch(key, ndjson(event(secrets.token_hex(16)))).status == 202
                if number == 3 and kind in guilty:
                    assert whole.post_batch(key, guilty[kind], Idempotency_Key="guilty").status == 202
        yield Crowd(whole, slugs, guilty)


def rows(whole: Whole, statement: str, **values: Any) -> list[tuple[Any, ...]]:
    """Of the whole's own database, as its processes reach it."""
    engine = connect(DatabaseSettings(url=whole.environment["DATABASE_URL"]))
    with read(engine) as connection:
        found = [tuple(row) for row in connection.execute(text(statement), values)]
    engine.dispose()
    return found


def of_customer(columns: str, table: str) -> str:
    return f"SELECT {columns} FROM {table} t JOIN customers c ON c.id = t.customer_id WHERE c.slug = :slug"


CLOSED = of_customer("count(*), sum(CASE WHEN t.state = 'dispatched' THEN 1 ELSE 0 END)", "windows")


def closed(whole: Whole, slug: str) -> bool:
    """Whether the customer has windows, and all of them are deposited or split: cheaper than its books."""
    ((windows, still_open),) = rows(whole, CLOSED, slug=slug)
    return bool(windows > 0 and still_open == 0)


@pytest.mark.parametrize("kind", REASONS)
def test_a_batch_that_breaks_a_stage_ends_in_quarantine_alone(on_sqlite: Crowd, kind: str) -> None:
    _ends_in_quarantine_alone(on_sqlite, kind)


@pytest.mark.parametrize("kind", ON_POSTGRESQL)
def test_so_it_does_on_postgresql(on_postgresql: Crowd, kind: str) -> None:
    _ends_in_quarantine_alone(on_postgresql, kind)


def _ends_in_quarantine_alone(crowd: Crowd, kind: str) -> None:
    whole, slug = crowd.whole, crowd.slugs[kind]
    until(lambda: closed(whole, slug) and settled(whole, slug), "balanced books", deadline_s=DEADLINE_S)
    quarantined = rows(whole, of_customer("t.batch_id, t.reason, t.bytes", "quarantine"), slug=slug)
    assert [(batch_id, reason, bytes(data)) for batch_id, reason, data in quarantined] == [
        ("guilty", REASONS[kind], crowd.guilty[kind])
    ]
    assert rows(whole, of_customer("sum(t.events)", "interactions"), slug=slug) == [(GOOD,)]
    whole.flask("verify", slug)
    assert SECRET not in whole.log("worker")


def test_another_customer_of_the_same_worker_flows_on_with_nothing_held_against_it(on_sqlite: Crowd) -> None:
    whole, slug = on_sqlite.whole, on_sqlite.slugs[NEIGHBOUR]
    until(lambda: closed(whole, slug) and settled(whole, slug), "balanced books", deadline_s=DEADLINE_S)
    assert rows(whole, of_customer("sum(t.events)", "interactions"), slug=slug) == [(GOOD,)]
    assert rows(whole, of_customer("count(*)", "quarantine"), slug=slug) == [(0,)]
    assert rows(whole, of_customer("sum(t.deaths)", "windows"), slug=slug) == [(0,)]


def test_the_kernel_ends_a_child_before_its_parent_when_memory_is_short(on_sqlite: Crowd) -> None:
    parent = on_sqlite.whole.processes["worker"].pid

    def score(pid: int | str) -> int:
        return int(Path(f"/proc/{pid}/oom_score_adj").read_text())

    def children_go_first() -> bool:
        # One that has just been forked has not asked yet, one that dies is gone.
        with suppress(OSError):
            children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
            return bool(children) and min(map(score, children)) > score(parent)
        return False

    until(children_go_first, "the children to ask to go first")

"""Deleting one of two customers while both send: the other does not notice, and no process complains."""

import contextlib
import secrets
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, text

from db.tables import metadata
from deploy.local.rabbitmq import RabbitNode
from streams import Broker, processed, raw
from tests.integration.test_whole import event, ndjson, settled
from tests.whole import Whole, running, until

EACH = 2
"""Events in a batch."""
ROLES = ("receiver", "dispatcher", "worker")


@pytest.fixture
def whole(tmp_path: Path, rabbitmq: RabbitNode, postgresql_url: str) -> Iterator[Whole]:
    urls = {"amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    with running(tmp_path, database_url=postgresql_url, **urls) as whole:
        yield whole


@contextlib.contextmanager
def engine_of(url: str) -> Iterator[Engine]:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    yield engine
    engine.dispose()


class PostingThread(threading.Thread):
    """Posts batches of one customer, one after the other, until it is told to stop."""

    def __init__(self, whole: Whole, key: str) -> None:
        super().__init__()
        self.whole, self.key = whole, key
        self.statuses: list[int] = []
        self.stopping = threading.Event()

    def run(self) -> None:
        while not self.stopping.wait(0.02):
            body = ndjson(*(event(secrets.token_hex(16)) for _ in range(EACH)))
            self.statuses.append(self.whole.post_batch(self.key, body).status)

    def accepted(self) -> int:
        return self.statuses.count(202)


def test_a_customer_is_deleted_under_traffic_and_the_other_does_not_notice(
    whole: Whole, postgresql_url: str, broker: Broker, slug: str
) -> None:
    other = f"{slug}-other"
    keys = {name: whole.add_customer(name) for name in (slug, other)}
    posting = {name: PostingThread(whole, key) for name, key in keys.items()}
    for each in posting.values():
        each.start()
    try:
        until(lambda: all(each.accepted() >= 20 for each in posting.values()), "batches of both")
        until(lambda: whole.books(slug)["customers"][0]["deposited"], "deposits of what will go")
        whole.command("customers", "delete", slug, "--by", "test", "--why", "test", "--yes")
        until(lambda: posting[slug].statuses[-1] == 401, "the agent to be nobody's")
        since = posting[other].accepted()
        until(lambda: posting[other].accepted() >= since + 20, "more of the other")
    finally:
        for each in posting.values():
            each.stopping.set()
        for each in posting.values():
            each.join()

    assert set(posting[other].statuses) == {202}
    # A batch that was on its way when the stream went may be told to come again.
    assert set(posting[slug].statuses) <= {202, 403, 401, 503}, Counter(posting[slug].statuses)
    until(lambda: settled(whole, other), "the books of the other")
    whole.flask("verify", other)
    with engine_of(postgresql_url) as engine:
        assert events(engine) == posting[other].accepted() * EACH
        assert owners(engine) == 1
    streams = [stream for name in (slug, other) for stream in (raw(name), processed(name))]
    assert [stream for stream in streams if broker.exists(stream)] == [raw(other), processed(other)]
    assert set(broker.doorbells([f"customer-{slug}", f"customer-{other}"])) == {f"customer-{other}"}

    key = whole.add_customer(slug)
    for _ in range(5):
        assert whole.post_batch(key, ndjson(event(secrets.token_hex(16)))).status == 202
    until(lambda: settled(whole, slug), "the books of the one that was added anew")
    assert whole.books(slug)["customers"][0]["deposited"] == 5
    whole.flask("verify", slug)
    for role in ROLES:
        assert whole.processes[role].poll() is None, role
        log = whole.log(role)
        assert '"level": "error"' not in log, [line for line in log.splitlines() if "error" in line]
        assert "Traceback" not in log


def events(engine: Engine) -> int:
    with engine.connect() as connection:
        return int(connection.execute(text("SELECT coalesce(sum(events), 0) FROM interactions")).scalar_one())


def owners(engine: Engine) -> int:
    """Of the rows of all tables, but the notes of what was done about customers."""
    tables = [
        one for one in metadata.sorted_tables if "customer_id" in one.c and one.name != "customer_notes"
    ]
    found: set[int] = set()
    with engine.connect() as connection:
        for table in tables:
            found |= set(connection.execute(text(f"SELECT DISTINCT customer_id FROM {table.name}")).scalars())
    return len(found)

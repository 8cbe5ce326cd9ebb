"""What an operator changes reaches the receivers in time, and keys they know outlast the database."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import db.customers.quota_use
import db.customers.rows
from db.clock import today
from db.customers import keys
from db.engine import begin, read
from deploy.local import postgres as local_postgres
from deploy.local.postgres import PostgresServer
from deploy.local.rabbitmq import RabbitNode
from tests import receiver as receivers
from tests.conftest import migrate
from tests.receiver import Home, Receiver, until

BODY = b'{"event": 1}\n'
FRESH_S = 3.0
EFFECTIVE_S = FRESH_S + 1.5
SETTINGS = {"SLUICE_HTTP_KEY_FRESH_S": str(FRESH_S)}


@pytest.fixture(scope="module")
def receiver(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    with receivers.running(tmp_path_factory.mktemp("receiver"), {**home.environment, **SETTINGS}) as receiver:
        yield receiver


def changes_to(receiver: Receiver, key: str, status: int) -> float:
    """Seconds until every try of a row is answered so: each worker has its own cache."""
    begun = time.monotonic()
    until(lambda: {receiver.post(key, BODY).status_code for _ in range(8)} == {status}, f"status {status}")
    return time.monotonic() - begun


def test_blocking_and_resuming_take_effect_while_keys_are_fresh(
    receiver: Receiver, home: Home, slug: str
) -> None:
    key = home.add(slug)
    assert changes_to(receiver, key, 202) < EFFECTIVE_S
    home.state(slug, "blocked")
    assert changes_to(receiver, key, 403) < EFFECTIVE_S
    refused = receiver.post(key, BODY)
    assert refused.json()["type"] == "/problems/customer-blocked"
    kept = len(home.envelopes(slug))
    home.state(slug, "active")
    assert changes_to(receiver, key, 202) < EFFECTIVE_S
    assert len(home.envelopes(slug)) > kept


def test_a_paused_customers_batches_are_kept(receiver: Receiver, home: Home, slug: str) -> None:
    key = home.add(slug)
    home.state(slug, "paused")
    assert receiver.post(key, BODY).status_code == 202
    [envelope] = home.envelopes(slug)
    assert (bytes(envelope.body), envelope.discarded) == (BODY, False)


def test_a_dropping_customers_batches_are_counted_without_their_bytes(
    receiver: Receiver, home: Home, slug: str
) -> None:
    key = home.add(slug)
    home.state(slug, "dropping")
    answer = receiver.post(key, BODY, idempotency_key="one")
    assert (answer.status_code, answer.json()) == (202, {"batch_id": "one"})
    [envelope] = home.envelopes(slug)
    assert (envelope.batch_id, bytes(envelope.body), envelope.discarded) == ("one", b"", True)


def test_two_keys_live_at_once_and_the_oldest_of_three_stops_working(
    receiver: Receiver, home: Home, slug: str
) -> None:
    first = home.add(slug)
    with begin(home.engine) as connection:
        customer = db.customers.rows.get(connection, slug)
        assert customer is not None
        second = keys.rotate(connection, customer.id)
    assert {receiver.post(key, BODY).status_code for key in (first, second)} == {202}
    with begin(home.engine) as connection:
        third = keys.rotate(connection, customer.id)
    assert receiver.post(third, BODY).status_code == 202
    assert changes_to(receiver, first, 401) < EFFECTIVE_S
    assert receiver.post(second, BODY).status_code == 202


@pytest.fixture
def mortal_postgres(tmp_path: Path) -> Iterator[PostgresServer]:
    """A database server of this test's own, to be stopped and started."""
    server = local_postgres.start(tmp_path / "postgres", fsync=False)
    yield server
    local_postgres.remove(tmp_path / "postgres")


def test_keys_that_were_seen_are_served_while_the_database_is_away(
    mortal_postgres: PostgresServer, rabbitmq: RabbitNode, tmp_path: Path, slug: str
) -> None:
    migrate(mortal_postgres.url)
    with (
        receivers.home(mortal_postgres.url, rabbitmq) as home,
        receivers.running(tmp_path, {**home.environment, **SETTINGS}) as receiver,
    ):
        key, unseen = home.add(slug), home.add(f"{slug}-b")
        limited = home.add(f"{slug}-c")
        customer_id = home.limit(f"{slug}-c", bytes_per_second=2, daily_bytes=10**6)
        assert changes_to(receiver, key, 202) < EFFECTIVE_S
        changes_to(receiver, limited, 429)
        mortal_postgres.stop()
        # Longer than an answer is fresh: from then on each answer is one that was kept.
        end = time.monotonic() + 3 * FRESH_S
        while time.monotonic() < end:
            assert receiver.post(key, BODY).status_code == 202
            time.sleep(0.02)
        # Limits stand, and what is let in goes on counting.
        until(lambda: receiver.post(limited, BODY).status_code == 202, "the limit to let one in")
        changes_to(receiver, limited, 429)
        refused = receiver.post(unseen, BODY)
        assert (refused.status_code, refused.json()["type"]) == (503, "/problems/unavailable")
        assert int(refused.headers["retry-after"]) >= 1
        assert receiver.ready()
        local_postgres.start(mortal_postgres.folder, fsync=False)
        assert changes_to(receiver, unseen, 202) < EFFECTIVE_S
        assert receiver.logged("database_went_away")

        def used() -> int:
            with read(home.engine) as connection:
                return db.customers.quota_use.total(connection, customer_id, today(connection))

        until(lambda: used() >= 2 * len(BODY), "the count of what was let in meanwhile")

"""A customer's throttle bounds the events a second that are dispatched, and only that customer's."""

import secrets
import signal
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from deploy.local.rabbitmq import RabbitNode
from tests.integration.test_whole import event, ndjson, settled
from tests.whole import running, until

EVENTS = 50
BATCHES = 30
RATE = 100


def windows(engine: Engine, slug: str) -> list[tuple[float, int]]:
    """When each deposited window of the customer was dispatched, in seconds, and its events."""
    query = text(
        "SELECT w.created_at, w.decoded FROM windows w JOIN customers c ON c.id = w.customer_id"
        " WHERE c.slug = :slug AND w.state = 'deposited' ORDER BY w.created_at"
    )
    with engine.connect() as connection:
        return [(row.created_at / 1e6, row.decoded) for row in connection.execute(query, {"slug": slug})]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_throttle_paces_one_customer_until_it_is_lifted(
    tmp_path: Path, rabbitmq: RabbitNode, database_url: str, engine: Engine, slug: str
) -> None:
    with running(
        tmp_path, database_url=database_url, amqp_url=rabbitmq.amqp_url, stream_url=rabbitmq.stream_url
    ) as whole:
        slow, free = f"{slug}-a", f"{slug}-b"
        # A throttle reaches a dispatcher within seconds; this one is not to know the customer without it.
        whole.kill("dispatcher", signal.SIGTERM)
        keys = [whole.add_customer(one) for one in (slow, free)]
        whole.flask("customers", "limit", slow, "--events-per-second", str(RATE))
        whole.start("dispatcher")
        for _ in range(BATCHES):
            body = ndjson(*(event(secrets.token_hex(16)) for _ in range(EVENTS)))
            for key in keys:
                assert whole.post_batch(key, body).status == 202

        until(lambda: settled(whole, free), "the customer without a throttle")
        until(lambda: len(windows(engine, slow)) >= 4, "some windows of the throttled one")
        found = windows(engine, slow)
        assert sum(events for _, events in found) < BATCHES * EVENTS
        largest = max(events for _, events in found)
        for first, (begun, _) in enumerate(found):
            for last in range(first, len(found)):
                events = sum(events for _, events in found[first : last + 1])
                # One second more than the throttle's own bound: the two clocks are not read at once.
                assert events <= RATE * (found[last][0] - begun + 1.5) + largest

        whole.flask("customers", "limit", slow, "--events-per-second", "none")
        until(lambda: settled(whole, slow), "the rest")
        assert sum(events for _, events in windows(engine, slow)) == BATCHES * EVENTS

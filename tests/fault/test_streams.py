"""A stream that retention shortens from its beginning."""

import secrets
from pathlib import Path

import pytest

from deploy.local.rabbitmq import RabbitNode
from streams import Broker, StreamSettings, raw
from tests.fault.servers import Database
from tests.integration.test_whole import event, ndjson, settled
from tests.whole import running, until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

MIB = 1024 * 1024


def test_what_retention_removed_below_the_cursor_is_booked_as_expired_and_alerted(
    tmp_path: Path, node: RabbitNode, database: Database, slug: str
) -> None:
    """The cursor stands still while the stream loses its first segments; all that is left is deposited."""
    small = {"SLUICE_RETENTION_RAW_BYTES": str(4 * MIB), "SLUICE_RETENTION_RAW_SEGMENT_BYTES": str(MIB)}
    broker = Broker(StreamSettings(url=node.stream_url, broker_url=node.amqp_url))
    with running(
        tmp_path, database_url=database.url, amqp_url=node.amqp_url, stream_url=node.stream_url, **small
    ) as whole:
        key = whole.add_customer(slug)
        whole.kill("dispatcher")
        posted = 0

        def shortened() -> bool:
            nonlocal posted
            padding = secrets.token_hex(100_000)
            body = ndjson(event(secrets.token_hex(16), attributes={"padding": padding}))
            assert whole.post_batch(key, body).status == 202
            posted += 1
            return (broker.first_offset(raw(slug), deadline_s=10) or 0) > 0

        until(shortened, "retention to remove the oldest batches")
        broker.close()
        books = whole.books(slug)["customers"][0]
        assert (books["owed_batches"], books["balanced"]) == (posted, True)
        whole.start("dispatcher")
        until(lambda: settled(whole, slug), "balanced books")
        books = whole.books(slug)["customers"][0]
        assert books["expired"] > 0
        assert books["expired"] + books["deposited"] + books["quarantined"] == posted
        assert "batches_expired" in whole.log("dispatcher")
        whole.flask("verify", slug)

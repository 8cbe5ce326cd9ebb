"""Processes of a later release beside those of today: what one does not know of the other's is no crash."""

from collections.abc import Iterator

import pytest
from sqlalchemy import text

from deploy.local.rabbitmq import RabbitNode
from streams import Broker, StreamSettings, raw
from tests.fault.attempt import attempt
from tests.fault.installation import LATER, Installation, installed
from tests.fault.servers import Database

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def mixed(
    node: RabbitNode, database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """A later release receives and dispatches; its worker shares every queue with today's."""
    with installed(
        tmp_path_factory.mktemp("installation"),
        database_url=database.url,
        amqp_url=node.amqp_url,
        stream_url=node.stream_url,
        later=("receiver", "dispatcher"),
    ) as found:
        found.start("second", "worker", "-n", f"second-{found.whole.port}@%h", **LATER)
        yield found


def test_releases_work_side_by_side(mixed: Installation, node: RabbitNode) -> None:
    attempt(mixed, "a later release beside this one", lambda _: None)
    with mixed.engine.connect() as conn:
        slug = conn.execute(text("SELECT max(slug) FROM customers c JOIN batches b ON b.customer_id = c.id"))
        stream = raw(slug.scalar_one())
    broker = Broker(StreamSettings(url=node.stream_url, broker_url=node.amqp_url))
    try:
        (message,) = broker.read(stream, 0, 0, deadline_s=10)
    finally:
        broker.close()
    assert b"of-a-later-release" in message.data.tobytes()
    for name in ("receiver", "dispatcher", "worker", "second"):
        assert "Traceback" not in mixed.whole.log(name), name

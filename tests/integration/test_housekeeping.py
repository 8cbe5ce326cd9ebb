"""What the dispatcher forgets while it runs."""

import secrets
from pathlib import Path

from sqlalchemy import Engine

from deploy.local.rabbitmq import RabbitNode
from tests.integration.test_whole import event, ndjson, scalar, settled
from tests.whole import running, until


def test_the_dispatcher_folds_deposited_windows_and_the_books_still_balance(
    tmp_path: Path, rabbitmq: RabbitNode, database_url: str, engine: Engine, slug: str
) -> None:
    urls = {"database_url": database_url, "amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    with running(tmp_path, **urls, SLUICE_TASK_PRUNE_EVERY_S="0.5") as whole:
        key = whole.add_customer(slug)
        for _ in range(5):
            assert whole.post_batch(key, ndjson(event(secrets.token_hex(16)))).status == 202
        until(lambda: scalar(engine, "SELECT batches FROM folded") == 5, "the windows to be folded")
        assert settled(whole, slug)
        whole.flask("verify", slug)

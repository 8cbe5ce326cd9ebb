"""A database older than its streams, and streams shorter than their database knows."""

import secrets
import shutil
import signal
from pathlib import Path

from sqlalchemy import Engine, create_engine

from deploy.local.rabbitmq import RabbitNode
from streams import Broker, StreamSettings, processed, raw
from tests.integration.test_whole import event, ndjson, scalar, settled
from tests.whole import running, until


def test_batches_deposited_after_the_backup_are_deposited_once_after_its_restoration(
    tmp_path: Path, rabbitmq: RabbitNode, sqlite_url: str, slug: str
) -> None:
    database, backup = Path(sqlite_url.removeprefix("sqlite:///")), tmp_path / "backup.db"
    urls = {"database_url": sqlite_url, "amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    posted = 0

    def post(key: str, sizes: range) -> None:
        nonlocal posted
        for events in sizes:
            body = ndjson(*(event(secrets.token_hex(16)) for _ in range(events)))
            assert whole.post_batch(key, body).status == 202
            posted += events

    with running(tmp_path, **urls) as whole:
        key = whole.add_customer(slug)
        post(key, range(1, 5))
        until(lambda: settled(whole, slug), "balanced books before the backup")
    shutil.copy(database, backup)
    with running(tmp_path, **urls) as whole:
        for size in (range(5, 6), range(6, 7), range(7, 8)):
            post(key, size)
            until(lambda: settled(whole, slug), "balanced books after the backup")
    for file in database.parent.glob(database.name + "*"):
        file.unlink()
    shutil.copy(backup, database)
    with running(tmp_path, **urls) as whole:
        post(key, range(8, 12))
        until(lambda: settled(whole, slug), "balanced books after the restoration")
        engine = create_engine(sqlite_url)
        assert scalar(engine, "SELECT sum(events) FROM interactions") == posted
        assert scalar(engine, "SELECT sum(count) FROM rollups") == posted
        whole.flask("verify", slug)


def test_streams_that_were_created_anew_are_read_from_their_beginning(
    tmp_path: Path, rabbitmq: RabbitNode, database_url: str, engine: Engine, slug: str
) -> None:
    urls = {"database_url": database_url, "amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    with running(tmp_path, **urls) as whole:
        key = whole.add_customer(slug)
        for posted in range(1, 6):
            assert whole.post_batch(key, ndjson(event(secrets.token_hex(16)))).status == 202
            until(lambda: settled(whole, slug), f"balanced books after batch {posted}")
        whole.kill("dispatcher", signal.SIGTERM)
        whole.kill("worker", signal.SIGTERM)
        broker = Broker(StreamSettings(url=rabbitmq.stream_url, broker_url=rabbitmq.amqp_url))
        for stream in (raw(slug), processed(slug)):
            broker.delete(stream)
        broker.close()
        whole.flask("customers", "add", slug, "--exist-ok")
        until(
            lambda: whole.post_batch(key, ndjson(event(secrets.token_hex(16)))).status == 202,
            "the receiver to find the new stream",
        )
        whole.start("dispatcher")
        whole.start("worker")
        until(
            lambda: scalar(engine, "SELECT sum(events) FROM interactions") == 6, "the batch in the new stream"
        )
        until(lambda: settled(whole, slug), "balanced books")
        assert "stream_replaced" in whole.log("dispatcher")
        whole.flask("verify", slug)
        assert "processed_stream_shorter_than_cursor" in whole.log("worker")

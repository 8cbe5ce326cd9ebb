"""What an operator sees in Flower."""

import json
import secrets
import urllib.request
from pathlib import Path
from typing import Any

from deploy.local import ports
from deploy.local.rabbitmq import RabbitNode
from tests.integration.test_whole import event, ndjson, settled
from tests.whole import running, until


def test_flower_shows_a_chains_tasks_under_the_customers_queue_and_nothing_of_their_data(
    tmp_path: Path, rabbitmq: RabbitNode, sqlite_url: str, slug: str
) -> None:
    urls = {"database_url": sqlite_url, "amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    (port,) = ports.free(1)
    api = f"http://127.0.0.1:{port}/api/tasks"

    def tasks() -> list[dict[str, Any]]:
        try:
            with urllib.request.urlopen(api, timeout=60) as answer:
                return list(json.load(answer).values())
        except OSError:
            return []

    def named() -> set[str]:
        return {task["name"] for task in tasks() if task["routing_key"] == f"customer-{slug}"}

    with running(tmp_path, **urls) as whole:
        whole.start("flower", f"--port={port}", FLOWER_UNAUTHENTICATED_API="true")
        until(lambda: ports.accepts(port), "Flower to listen")
        key = whole.add_customer(slug)

        def posted() -> bool:
            body = ndjson(event(secrets.token_hex(16), service="a-secret-place"))
            return whole.post_batch(key, body).status == 202 and {"decode_process", "deposit"} <= named()

        until(posted, "the chain's tasks in Flower")
        until(lambda: settled(whole, slug), "balanced books")
        assert "a-secret-place" not in json.dumps(tasks())
        assert "a-secret-place" not in whole.log("worker")

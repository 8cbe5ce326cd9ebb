"""A flood of batches that fail: the breaker opens, and nothing is written until an operator decides."""

import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.local.rabbitmq import RabbitNode
from tests.integration.test_poison import of_customer, rows
from tests.integration.test_whole import event, ndjson, settled
from tests.whole import Whole, running, until

FLOOD = 60
SETTINGS = {
    # Long enough for the flood to be one window, or two.
    "SLUICE_TASK_LINGER_MS": "3000",
    "SLUICE_HTTP_KEY_FRESH_S": "1",
    "TESTS_WITHOUT_FORMAT": "json",
}


@pytest.fixture(scope="module")
def whole(
    sqlite_template: Path, rabbitmq: RabbitNode, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Whole]:
    """Its worker is a bad release: it can't decode `json`."""
    folder = tmp_path_factory.mktemp("breaker")
    (folder / "sluice.db").write_bytes(sqlite_template.read_bytes())
    urls = {"amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    database_url = f"sqlite:///{folder / 'sluice.db'}"
    with running(folder, database_url=database_url, **urls, worker="poisoned", **SETTINGS) as whole:
        yield whole


def flood(whole: Whole, key: str, count: int = FLOOD) -> None:
    for _ in range(count):
        body = json.dumps([event(secrets.token_hex(16))]).encode()
        assert whole.post_batch(key, body, Content_Type="application/json").status == 202


def reason(whole: Whole, slug: str) -> Any:
    ((found,),) = rows(whole, "SELECT breaker_reason FROM customers WHERE slug = :slug", slug=slug)
    return found


def quarantined(whole: Whole, slug: str) -> Any:
    ((found,),) = rows(whole, of_customer("count(*)", "quarantine"), slug=slug)
    return found


def held(whole: Whole, key: str, slug: str) -> int:
    """Post one more; how many were posted since the breaker opened once the receiver counts them as held."""
    flood(whole, key, 1)
    metrics = whole.metrics()
    counted = f'sluice_http_held_batches_total{{customer="{slug}"}}' in metrics
    return whole.books(slug)["customers"][0]["in_stream"] - FLOOD if counted else 0


def shown(whole: Whole, *arguments: str) -> Any:
    return json.loads(whole.flask(*arguments, "--json").stdout)


def test_failures_that_are_accepted_go_to_quarantine_and_later_ones_open_it_again(
    whole: Whole, slug: str
) -> None:
    key = whole.add_customer(slug)
    flood(whole, key)
    until(lambda: reason(whole, slug), "the breaker to open")
    flood(whole, key, 5)
    whole.flask("customers", "resume", slug, "--accept-failures")
    until(lambda: quarantined(whole, slug) == FLOOD + 5 and settled(whole, slug), "all in quarantine")
    assert reason(whole, slug) is None
    assert whole.books(slug)["customers"][0]["quarantined"] == FLOOD + 5
    whole.flask("verify", slug)
    flood(whole, key)
    until(lambda: reason(whole, slug), "the breaker to open again")
    assert quarantined(whole, slug) == FLOOD + 5


def test_a_flood_of_failures_writes_nothing_and_is_deposited_once_the_fault_is_mended(
    whole: Whole, slug: str
) -> None:
    key, other = whole.add_customer(slug), whole.add_customer(f"{slug}-other")
    flood(whole, key)
    until(lambda: reason(whole, slug), "the breaker to open")

    assert reason(whole, slug) == "unknown_format"
    assert quarantined(whole, slug) == 0
    sent = FLOOD + until(lambda: held(whole, key, slug), "the receiver to count what is held")
    assert whole.post_batch(other, ndjson(event(secrets.token_hex(16)))).status == 202
    until(lambda: settled(whole, f"{slug}-other"), "the other customer's batch")
    books = whole.books(slug)["customers"][0]
    assert (books["owed_batches"], books["deposited"], books["balanced"]) == (sent, 0, True)
    assert shown(whole, "customers", "show", slug)["breaker_reason"] == "unknown_format"
    (lag,) = shown(whole, "lag", "--customer", slug)["customers"]
    assert (lag["breaker_reason"], lag["owed_batches"]) == ("unknown_format", sent)
    assert "breaker open" in whole.flask("customers", "list").stdout
    opened = [line for line in whole.log("worker").splitlines() if "breaker_opened" in line and slug in line]
    assert len(opened) == 1
    assert '"level": "error"' in opened[0]

    whole.environment.pop("TESTS_WITHOUT_FORMAT")
    whole.kill("worker")
    whole.start("worker", "-n", f"mended-{whole.port}@%h")
    whole.flask("customers", "resume", slug)
    until(lambda: settled(whole, slug), "balanced books")
    assert rows(whole, of_customer("sum(t.events)", "interactions"), slug=slug) == [(sent,)]
    assert quarantined(whole, slug) == 0
    assert reason(whole, slug) is None
    whole.flask("verify", slug)

"""From an agent's POST to rows in the database: real receiver, dispatcher, worker, broker and database."""

import json
import os
import secrets
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, text

from deploy.local.rabbitmq import RabbitNode
from tests.whole import HttpAnswer, Whole, running, until

T0 = "2026-01-15T14:03:05.250000Z"


@pytest.fixture
def whole(tmp_path: Path, rabbitmq: RabbitNode, database_url: str) -> Iterator[Whole]:
    with running(
        tmp_path, database_url=database_url, amqp_url=rabbitmq.amqp_url, stream_url=rabbitmq.stream_url
    ) as whole:
        yield whole


def event(trace: str, **changes: Any) -> dict[str, Any]:
    return {
        "trace_id": trace,
        "event_id": secrets.token_hex(8),
        "started_at": T0,
        "duration_us": 1_000,
        "service": "shop",
        "operation": "GET /orders/4711",
        "status": "ok",
    } | changes


def ndjson(*events: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(one).encode() + b"\n" for one in events)


def scalar(engine: Engine, statement: str, **values: Any) -> Any:
    with engine.connect() as connection:
        return connection.execute(text(statement), values).scalar()


def interactions(engine: Engine) -> list[Any]:
    with engine.connect() as connection:
        rows = connection.execute(
            text("SELECT root_operation, events, errors, status FROM interactions ORDER BY 1")
        )
        return [tuple(row) for row in rows]


def settled(whole: Whole, slug: str) -> bool:
    """Every accepted batch of the customer is accounted for, and the books balance."""
    books = whole.books(slug)["customers"][0]
    return bool(books["balanced"]) and books["owed_batches"] == 0


def test_a_posted_batch_becomes_rows_that_the_books_account_for(
    whole: Whole, engine: Engine, slug: str
) -> None:
    key, trace = whole.add_customer(slug), secrets.token_hex(16)
    body = ndjson(
        event(trace), event(trace, parent_id="00f067aa0ba902b7", status="error", operation="SELECT")
    )

    answer = whole.post_batch(key, body)

    assert answer.status == 202
    until(lambda: interactions(engine), "the interaction")
    assert interactions(engine) == [("GET /orders/{id}", 2, 1, "error")]
    assert scalar(engine, "SELECT sum(count) FROM rollups") == 2
    assert scalar(engine, "SELECT count(*) FROM events WHERE status = 'error'") == 1
    until(lambda: settled(whole, slug), "balanced books")
    whole.command("books")
    whole.command("verify", slug)


def test_the_same_batches_posted_again_change_nothing(whole: Whole, engine: Engine, slug: str) -> None:
    key = whole.add_customer(slug)
    bodies = [ndjson(event(secrets.token_hex(16))) for _ in range(20)]
    for again in range(3):
        for number, body in enumerate(bodies):
            assert whole.post_batch(key, body, Idempotency_Key=f"batch-{number}").status == 202
        until(lambda: settled(whole, slug), f"balanced books after round {again}")
    assert scalar(engine, "SELECT sum(events) FROM interactions") == 20
    assert scalar(engine, "SELECT sum(count) FROM rollups") == 20
    assert whole.books(slug)["customers"][0]["duplicates"] == 40
    whole.flask("verify", slug)


def test_a_public_key_is_refused_when_the_events_of_its_day_were_deposited(
    whole: Whole, engine: Engine, slug: str
) -> None:
    whole.add_customer(slug)
    options = ("--origin", "*", "--events-a-day", "6", "--requests-a-minute", "none")
    key = whole.flask("customers", "add-public-key", slug, *options).stdout.strip()
    [shown] = json.loads(whole.flask("customers", "public-keys", slug, "--json").stdout)["public_keys"]
    assert (shown["key"], shown["events_a_day"]) == (key, 6)
    refusals: list[HttpAnswer] = []
    accepted = 0

    def post() -> bool:
        nonlocal accepted
        answer = whole.post_batch(key, ndjson(*(event(secrets.token_hex(16)) for _ in range(3))))
        accepted += answer.status == 202
        refusals.extend([answer] if answer.status == 429 else [])
        return bool(refusals)

    post()
    until(lambda: settled(whole, slug), "balanced books")
    assert scalar(engine, "SELECT sum(events) FROM public_key_use") == 3
    assert not post(), "half of the events are left"
    until(post, "a refusal")
    assert refusals[0].json()["type"] == "/problems/key-used-up"
    assert refusals[0].json()["limit"] == "events_a_day"
    until(lambda: settled(whole, slug), "balanced books again")
    # What was accepted before the deposit is kept, too.
    assert scalar(engine, "SELECT sum(events) FROM public_key_use") == 3 * accepted >= 6
    until(lambda: whole.books(slug)["customers"][0]["public_key_refused"], "the refusal in the books")


def test_a_batch_without_an_id_is_known_by_its_bytes(whole: Whole, engine: Engine, slug: str) -> None:
    key, body = whole.add_customer(slug), ndjson(event(secrets.token_hex(16)))
    ids = {whole.post_batch(key, body).json()["batch_id"] for _ in range(3)}
    assert len(ids) == 1
    until(lambda: settled(whole, slug), "balanced books")
    assert scalar(engine, "SELECT sum(events) FROM interactions") == 1


def test_a_batch_id_used_again_for_other_bytes_is_quarantined(
    whole: Whole, engine: Engine, slug: str
) -> None:
    key, other = whole.add_customer(slug), ndjson(event(secrets.token_hex(16)))
    assert whole.post_batch(key, ndjson(event(secrets.token_hex(16))), Idempotency_Key="one").status == 202
    assert whole.post_batch(key, other, Idempotency_Key="one").status == 202
    until(lambda: scalar(engine, "SELECT count(*) FROM quarantine"), "the quarantined batch")
    with engine.connect() as connection:
        row = connection.execute(text("SELECT reason, batch_id, bytes FROM quarantine")).one()
    assert (row.reason, row.batch_id, bytes(row.bytes)) == ("batch_id_reused", "one", other)
    until(lambda: settled(whole, slug), "balanced books")
    whole.flask("verify", slug)


def test_bad_batches_and_bad_events_cost_only_themselves(whole: Whole, engine: Engine, slug: str) -> None:
    key = whole.add_customer(slug)
    good = event(secrets.token_hex(16))
    bodies = {
        "garbage": (b"\x00\x01 no json", {}),
        "not gzip": (ndjson(good), {"Content_Encoding": "gzip"}),
        "mixed": (ndjson(event(secrets.token_hex(16), started_at="1970-01-01T00:00:00Z"), good), {}),
        "good": (ndjson(event(secrets.token_hex(16))), {}),
    }
    for name, (body, headers) in bodies.items():
        assert whole.post_batch(key, body, Idempotency_Key=name.replace(" ", "-"), **headers).status == 202
    until(lambda: settled(whole, slug), "balanced books")
    assert scalar(engine, "SELECT sum(events) FROM interactions") == 2
    with engine.connect() as connection:
        kept = connection.execute(text('SELECT batch_id, "row" IS NULL, bytes FROM quarantine')).all()
    whole_batches = {row[0]: bytes(row[2]) for row in kept if row[1] and row[0] == "not-gzip"}
    assert {row[0] for row in kept} == {"garbage", "not-gzip", "mixed"}
    assert whole_batches == {"not-gzip": ndjson(good)}


def test_a_killed_worker_changes_nothing(whole: Whole, engine: Engine, slug: str) -> None:
    key = whole.add_customer(slug)
    for number in range(60):
        if number in (10, 30):
            whole.kill("worker", signal.SIGKILL)
            whole.start("worker", "-n", f"after-{number}@%h")
        assert whole.post_batch(key, ndjson(*(event(secrets.token_hex(16)) for _ in range(50)))).status == 202
    until(lambda: settled(whole, slug), "balanced books")
    assert scalar(engine, "SELECT sum(events) FROM interactions") == 3_000
    assert scalar(engine, "SELECT sum(count) FROM rollups") == 3_000
    whole.flask("verify", slug)


def test_agents_are_answered_while_nothing_processes(whole: Whole, engine: Engine, slug: str) -> None:
    key = whole.add_customer(slug)
    whole.kill("worker", signal.SIGTERM)
    whole.kill("dispatcher", signal.SIGTERM)
    for _ in range(20):
        assert whole.post_batch(key, ndjson(event(secrets.token_hex(16)))).status == 202
    books = whole.books(slug)["customers"][0]
    assert (books["owed_batches"], books["balanced"]) == (20, True)
    whole.start("dispatcher")
    whole.start("worker")
    until(lambda: settled(whole, slug), "balanced books")
    assert scalar(engine, "SELECT sum(events) FROM interactions") == 20


def test_a_window_too_large_to_hand_over_is_cut_until_one_batch_is_left(
    tmp_path: Path, rabbitmq: RabbitNode, database_url: str, engine: Engine, slug: str
) -> None:
    urls = {"database_url": database_url, "amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    with running(tmp_path, **urls, SLUICE_TASK_HANDOVER_BYTES="20000", SLUICE_TASK_LINGER_MS="2000") as whole:
        key = whole.add_customer(slug)
        for _ in range(10):
            body = ndjson(*(event(secrets.token_hex(16)) for _ in range(20)))
            assert whole.post_batch(key, body).status == 202
        large = ndjson(*(event(secrets.token_hex(16)) for _ in range(2_000)))
        assert whole.post_batch(key, large, Idempotency_Key="large").status == 202
        until(lambda: settled(whole, slug), "balanced books")
        assert scalar(engine, "SELECT sum(events) FROM interactions") == 200
        assert scalar(engine, "SELECT batch_id FROM quarantine WHERE reason = 'too_large'") == "large"
        assert scalar(engine, "SELECT count(*) FROM windows WHERE state = 'split'") > 0
        whole.flask("verify", slug)


def test_two_dispatchers_share_the_customers_and_one_takes_over_from_a_dead_one(
    whole: Whole, engine: Engine, slug: str
) -> None:
    slugs = [f"{slug}-{number}" for number in range(4)]
    keys = [whole.add_customer(one) for one in slugs]
    whole.start("second", role="dispatcher")

    def holders() -> int:
        return int(scalar(engine, "SELECT count(DISTINCT holder) FROM dispatch"))

    until(lambda: holders() == 2, "both dispatchers to hold leases")
    whole.kill("dispatcher", signal.SIGKILL)
    for key in keys:
        assert whole.post_batch(key, ndjson(event(secrets.token_hex(16)))).status == 202
    until(lambda: scalar(engine, "SELECT count(*) FROM interactions") == 4, "every customer's batch")
    assert holders() == 1


def test_a_shared_worker_leaves_a_customer_to_its_dedicated_worker_and_takes_it_back(
    whole: Whole, engine: Engine, slug: str
) -> None:
    key, queue = whole.add_customer(slug), f"customer-{slug}"
    until(lambda: f'taken": ["{queue}"]' in whole.log("worker"), "the shared worker to serve it")
    whole.start("dedicated", "-Q", queue, "-n", "dedicated@%h", role="worker")
    until(lambda: f'left": ["{queue}"]' in whole.log("worker"), "the shared worker to leave it")
    assert whole.post_batch(key, ndjson(event(secrets.token_hex(16)))).status == 202
    until(lambda: settled(whole, slug), "the dedicated worker's deposit")
    whole.kill("dedicated", signal.SIGKILL)
    assert whole.post_batch(key, ndjson(event(secrets.token_hex(16)))).status == 202
    until(lambda: scalar(engine, "SELECT count(*) FROM interactions") == 2, "the shared worker's deposit")


def test_a_child_that_dies_at_work_is_made_up_for_by_ringing_again(
    tmp_path: Path, rabbitmq: RabbitNode, database_url: str, engine: Engine, slug: str
) -> None:
    urls = {"database_url": database_url, "amqp_url": rabbitmq.amqp_url, "stream_url": rabbitmq.stream_url}
    with running(tmp_path, **urls, SLUICE_TASK_STALE_AFTER_S="2") as whole:
        key, worker = whole.add_customer(slug), whole.processes["worker"].pid
        # Celery ends a worker that loses a child while it starts; whoever started it starts it again.
        assert whole.post_batch(key, ndjson(event(secrets.token_hex(16)))).status == 202
        until(lambda: scalar(engine, "SELECT count(*) FROM interactions") == 1, "the worker to be at work")
        for number in range(40):
            assert (
                whole.post_batch(key, ndjson(*(event(secrets.token_hex(16)) for _ in range(50)))).status
                == 202
            )
            if number % 10 == 5:
                children = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
                for child in children:
                    with suppress(ProcessLookupError):  # its parent has replaced it since
                        os.kill(int(child), signal.SIGKILL)
        until(lambda: settled(whole, slug), "balanced books")
        assert scalar(engine, "SELECT sum(events) FROM interactions") == 2_001
        assert scalar(engine, "SELECT sum(count) FROM rollups") == 2_001
        whole.flask("verify", slug)

"""What one deposit holds in memory is bounded over all the windows that it merges."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

import db.customers.pipeline_versions
import db.engine
import db.ledger.windows
import db.quarantine.rows
import tasks.stages.decode
import tasks.stages.deposit
import tasks.stages.deposit_transaction
import tasks.stages.process
from db.accounting.costs import last_hour
from db.clock import now_us
from db.quarantine.rows import NewQuarantine
from deploy.local.rabbitmq import RabbitNode
from pipelines import DEFAULT
from streams import Broker, StreamSettings, processed, raw
from tasks.celery import app
from tasks.settings import TaskSettings
from tasks.stages.context import Context
from tasks.stages.deliveries import Delivery
from tests.envelopes import envelope
from tests.integration.ledger_rows import NOW_US, add_customer, claim, new_window, record

FIRST = Delivery("first")
BODY = b"\0 no json " * 1_000
SMALL = {"max_bytes": 50_000_000, "max_age_s": 3600, "segment_bytes": 5_000_000}


@pytest.fixture
def context(engine: Engine, rabbitmq: RabbitNode) -> Iterator[Context]:
    broker = Broker(StreamSettings(url=rabbitmq.stream_url, broker_url=rabbitmq.amqp_url))
    settings = TaskSettings(handover_bytes=2 * len(BODY), breaker_batches=1_000)
    yield Context(engine=engine, broker=broker, settings=settings, app=app)
    broker.close()


def test_a_deposit_takes_no_more_unfit_bytes_than_two_hand_overs_and_a_window(
    context: Context, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (raw(slug), processed(slug)):
        context.broker.declare(name, **SMALL)
    customer = add_customer(context.engine, slug)
    with db.engine.begin(context.engine) as connection:
        version = db.customers.pipeline_versions.put(connection, customer.id, DEFAULT)
    epoch = claim(context.engine, customer)
    posted = [
        envelope(slug, f"batch-{number}", BODY, accepted_at_us=NOW_US, form="json") for number in range(24)
    ]
    context.broker.publish_all(raw(slug), posted, deadline_s=20)
    cut = [new_window(first, first + 1, pipeline_version=version) for first in range(0, 24, 2)]
    windows = [
        record(context.engine, customer, epoch, one.first_offset, one.last_offset, window=one) for one in cut
    ]
    for window_id in windows:
        assert tasks.stages.decode.run(
            context, window_id, partial(tasks.stages.process.publish, context), FIRST
        )
    kept: list[int] = []
    add = db.quarantine.rows.add

    def counted(
        conn: Connection, customer_id: int, rows: Sequence[NewQuarantine], *, daily_bytes: int
    ) -> list[NewQuarantine]:
        kept.append(sum(len(row.bytes) for row in rows))
        return add(conn, customer_id, rows, daily_bytes=daily_bytes)

    monkeypatch.setattr(db.quarantine.rows, "add", counted)

    tasks.stages.deposit.run(context, customer.id, windows[-1], FIRST)

    assert max(kept) <= 2 * context.settings.handover_bytes + 2 * len(BODY)
    assert sum(kept) == 24 * len(BODY)
    with db.engine.read(context.engine) as connection:
        cost = last_hour(connection, now_us(connection))[customer.id]
        rows: Any = connection.execute(text("SELECT batch_id, reason, length(bytes) FROM quarantine")).all()
        assert db.ledger.windows.open_ids(connection, [customer.id]).get(customer.id, set()) == set()
    assert (cost.windows, cost.batches, cost.events, cost.bytes) == (12, 24, 0, 24_000)
    assert cost.processor_us > 0
    assert {tuple(row) for row in rows} == {
        (f"batch-{number}", "malformed", len(BODY)) for number in range(24)
    }


SPAN = {"trace_id": "ab" * 16, "started_at": NOW_US, "duration_us": 1, "service": "s", "operation": "o"}
MANY = {"attributes": {f"a{number}": number for number in range(200)}}  # four times as long when kept


def events(count: int) -> bytes:
    """So many that are kept, as NDJSON."""
    own = {"status": "error", "resource": MANY}
    each = (own | {"event_id": f"{number + 1:016x}"} for number in range(count))
    return b"\n".join(json.dumps(SPAN | one).encode() for one in each)


def test_details_are_bounded_unpacked_when_they_are_made_and_when_they_are_deposited(
    context: Context, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = replace(context, settings=TaskSettings(decoded_bytes=200_000))
    for name in (raw(slug), processed(slug)):
        context.broker.declare(name, **SMALL)
    customer = add_customer(context.engine, slug)
    with db.engine.begin(context.engine) as connection:
        version = db.customers.pipeline_versions.put(connection, customer.id, DEFAULT)
    epoch = claim(context.engine, customer)
    bodies = [*[events(20)] * 4, events(60)]
    posted = [
        envelope(slug, f"batch-{number}", body, accepted_at_us=NOW_US, form="ndjson")
        for number, body in enumerate(bodies)
    ]
    context.broker.publish_all(raw(slug), posted, deadline_s=20)
    windows = [
        record(context.engine, customer, epoch, at, at, window=new_window(at, at, pipeline_version=version))
        for at in range(len(bodies))
    ]
    publish = partial(tasks.stages.process.publish, context)
    for window_id in windows:
        assert tasks.stages.decode.run(context, window_id, publish, FIRST)
    deposits: list[int] = []
    book = tasks.stages.deposit_transaction.book

    def counted(context: Context, move: Any, ready: Sequence[Any]) -> None:
        deposits.append(len(ready))
        book(context, move, ready)

    monkeypatch.setattr(tasks.stages.deposit, "book", counted)
    tasks.stages.deposit.run(context, customer.id, windows[-1], FIRST)

    assert deposits == [2, 2, 1]
    with db.engine.read(context.engine) as connection:
        kept = connection.execute(text("SELECT count(*) FROM events")).scalar_one()
        refused: Any = connection.execute(text("SELECT batch_id, reason FROM quarantine")).all()
    assert kept == 80
    assert [tuple(row) for row in refused] == [("batch-4", "too_large")]

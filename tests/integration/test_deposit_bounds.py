"""What one deposit holds in memory is bounded over all the windows that it merges."""

from collections.abc import Iterator, Sequence
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

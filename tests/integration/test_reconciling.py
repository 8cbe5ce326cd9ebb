"""A raw stream held against a ledger that an earlier revision wrote, which knew no fingerprints."""

import time

import pytest
from celery import Celery
from sqlalchemy import Engine

import db.ledger.dispatch
from db.engine import begin
from db.retention.pruning import prune
from db.settings import DatabaseSettings
from streams import Broker, decode_envelope, raw
from streams.messages.fingerprint import fingerprint
from tasks.dispatcher.raw_streams.reconciling import Reconciler
from tests.integration.ledger_rows import (
    add_customer,
    claim,
    deposit,
    deposited,
    new_batch,
    new_window,
    record,
)
from tests.integration.test_generations import RETENTION, message, recreate

BATCHES = 3
DEADLINE_S = 30.0


@pytest.mark.parametrize(("survive", "generation", "goes_on_at"), [(3, 0, 3), (2, 1, 2), (0, 1, 0)])
def test_a_cursor_without_fingerprint_is_held_against_the_batch_that_was_booked_there(
    engine: Engine, broker: Broker, slug: str, survive: int, generation: int, goes_on_at: int
) -> None:
    """The stream has grown past the cursor again, with other batches, before this release first looks."""
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    messages = [message(slug) for _ in range(BATCHES)]
    for offset, one in enumerate(messages):
        said = decode_envelope(one)
        booked = new_batch(
            offset, batch_id=said.batch_id, digest=bytes(said.digest), accepted_at=said.accepted_at_us
        )
        record(engine, customer, epoch, offset, offset, batches=[booked])
    broker.declare(raw(slug), **RETENTION)
    recreate(broker, raw(slug), [*messages[:survive], *(message(slug) for _ in range(BATCHES))])

    reconciler = Reconciler(engine=engine, broker=broker, app=Celery(), deadline_s=DEADLINE_S)
    with begin(engine) as connection:
        before = db.ledger.dispatch.position(connection, customer.id)
    assert before.edge is None
    after = reconciler.position(customer, epoch, before)
    broker.delete(raw(slug))
    assert (after.generation, after.next_offset) == (generation, goes_on_at)
    assert after.expired == BATCHES - survive


def test_a_stream_that_lost_all_of_a_month_is_cut_though_older_windows_are_forgotten(
    engine: Engine, broker: Broker, slug: str
) -> None:
    """A quiet customer: what survives is older than what is remembered, and must not count again."""
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    now = time.time_ns() // 1000
    messages = [message(slug, days_ago=100 if offset < BATCHES else 0) for offset in range(BATCHES + 1)]
    for offset, one in enumerate(messages):
        said = decode_envelope(one)
        booked = new_batch(
            offset, batch_id=said.batch_id, digest=bytes(said.digest), accepted_at=said.accepted_at_us
        )
        known = fingerprint(one)
        window = new_window(
            offset, offset, created_at=said.accepted_at_us, fingerprints=known, last_accepted_at=now
        )
        window_id = record(
            engine, customer, epoch, offset, offset, batches=[booked], window=window, edge=known
        )
        if offset < BATCHES:
            deposit(engine, customer, offset, [deposited(window_id, kept=1)])
    prune(engine, DatabaseSettings(), now)
    broker.declare(raw(slug), **RETENTION)
    recreate(broker, raw(slug), messages[:BATCHES])

    reconciler = Reconciler(engine=engine, broker=broker, app=Celery(), deadline_s=DEADLINE_S)
    with begin(engine) as connection:
        before = db.ledger.dispatch.position(connection, customer.id)
    after = reconciler.position(customer, epoch, before)
    broker.delete(raw(slug))
    assert (after.generation, after.next_offset, after.expired) == (1, BATCHES, 1)

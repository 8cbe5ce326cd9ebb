"""Events that came with a public key are counted in the deposit's transaction: once, whatever comes twice."""

from functools import partial

import pytest
from celery import Celery
from sqlalchemy import Engine, select

import db.bulk
import db.engine
import tasks.stages.decode
import tasks.stages.deposit
import tasks.stages.process
from db import tables
from db.clock import DAY_US
from db.customers import pipeline_versions, public_key_events, public_keys
from db.customers.public_key_events import KeyDay
from db.customers.public_keys import KeyRules
from db.customers.rows import Customer
from pipelines import DEFAULT
from streams import Broker, processed, raw
from tasks.settings import TaskSettings
from tasks.stages import group
from tasks.stages.context import Context
from tasks.stages.deliveries import Delivery
from tests.envelopes import envelope
from tests.integration.ledger_rows import NOW_US, add_customer, claim, new_window, record
from tests.integration.test_groups import EVENTS, SMALL, good

FIRST = Delivery("first")


@pytest.fixture
def context(engine: Engine, broker: Broker) -> Context:
    return Context(engine=engine, broker=broker, settings=TaskSettings(), app=Celery())


@pytest.fixture
def customers(context: Context, slug: str) -> list[Customer]:
    added = [add_customer(context.engine, f"{slug}-{letter}") for letter in "ab"]
    for customer in added:
        with db.engine.begin(context.engine) as connection:
            pipeline_versions.put(connection, customer.id, DEFAULT)
        for stream in (raw(customer.slug), processed(customer.slug)):
            context.broker.declare(stream, **SMALL)
    return added


def key_of(context: Context, customer: Customer) -> int:
    with db.engine.begin(context.engine) as connection:
        public_keys.issue(connection, customer.id, KeyRules(apps=("app",)))
        return public_keys.live(connection, customer.id)[-1].id


def posted(context: Context, customer: Customer, keys: list[int | None]) -> int:
    """A window with a batch of each of these keys; the customer's first."""
    for number, key in enumerate(keys):
        message = envelope(customer.slug, f"batch-{number}", good(), accepted_at_us=NOW_US, public_key_id=key)
        context.broker.publish(raw(customer.slug), message, deadline_s=20)
    window = new_window(0, len(keys) - 1, pipeline_version=2)
    return record(context.engine, customer, claim(context.engine, customer), 0, len(keys) - 1, window=window)


def used(context: Context) -> dict[int, int]:
    """Events of each key on the day of acceptance."""
    of = tables.public_key_use.c
    with db.engine.read(context.engine) as connection:
        rows = connection.execute(select(of.key_id, of.events).where(of.day == NOW_US // DAY_US))
        return dict(map(tuple, rows))


def test_a_window_that_is_deposited_twice_counts_once(context: Context, customers: list[Customer]) -> None:
    customer, other = customers
    one, two, foreign = key_of(context, customer), key_of(context, customer), key_of(context, other)
    # Who may write to a stream can name the key of another customer, or one that nobody has.
    window = posted(context, customer, [one, None, one, two, foreign, 10**12])
    publish = partial(tasks.stages.process.publish, context)
    for _ in range(2):
        assert tasks.stages.decode.run(context, window, publish, FIRST)
    for _ in range(2):
        tasks.stages.deposit.run(context, customer.id, window, FIRST)
        assert used(context) == {one: 2 * EVENTS, two: EVENTS}


def test_a_group_that_comes_twice_counts_the_events_of_each_customers_keys_once(
    context: Context, customers: list[Customer]
) -> None:
    keys = [key_of(context, customer) for customer in customers]
    windows = [posted(context, customer, [key]) for customer, key in zip(customers, keys, strict=True)]
    for again in (FIRST, Delivery("first", redelivered=True)):
        group.run(context, windows, again)
        assert used(context) == dict.fromkeys(keys, EVENTS)
    of = KeyDay(customers[0].id, keys[0], NOW_US // DAY_US)
    with db.engine.begin(context.engine) as connection, db.bulk.together(connection):
        public_key_events.add(connection, {of: 3})
    assert used(context) == {keys[0]: EVENTS + 3, keys[1]: EVENTS}

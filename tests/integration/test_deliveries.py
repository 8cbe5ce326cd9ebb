"""What is held against a window, and what becomes of it: counted in a real ledger, without a worker."""

from collections.abc import Iterator
from contextlib import suppress

import pytest
from sqlalchemy import Engine

import db.ledger.bad_ends
from db.accounting import books
from db.customers.rows import Customer
from db.engine import begin, read
from db.errors import DatabaseUnavailable, LostRace
from db.ledger import windows
from db.ledger.windows import Part, Work
from streams import Broker, StreamSettings
from tasks.celery import app
from tasks.settings import TaskSettings
from tasks.stages.context import Context
from tasks.stages.deliveries import Delivery, DeliveryAction, decided
from tasks.stages.split import halves
from tests.integration.ledger_rows import add_customer, claim, deposit, deposited, record

FIRST = Delivery("some-id")
REDELIVERED = Delivery("some-id", redelivered=True)
DEAD = Delivery("some-id", died_of="worker_died: signal 9 (SIGKILL)")


class Killed(BaseException):
    """Ends a delivery as a signal does: nothing is cleaned up after it."""


@pytest.fixture
def context(engine: Engine) -> Iterator[Context]:
    made = Context(engine=engine, broker=Broker(StreamSettings()), settings=TaskSettings(), app=app)
    yield made
    made.broker.close()


@pytest.fixture
def customer(engine: Engine, slug: str) -> Customer:
    return add_customer(engine, slug)


def work(engine: Engine, window_id: int) -> Work:
    with read(engine) as connection:
        found = windows.work(connection, window_id)
    assert found is not None
    return found


def ends(
    context: Context, window_id: int, how: Delivery, error: BaseException, *, alone: bool = False
) -> DeliveryAction:
    """Deliver the window and end with that error; returns what was to be done with it."""
    actions = []
    with suppress(type(error)), decided(context, work(context.engine, window_id), how, alone=alone) as found:
        actions.append(found.action)
        raise error
    (action,) = actions
    return action


def killed_at(context: Context, window_id: int, how: Delivery, *, alone: bool = False) -> DeliveryAction:
    return ends(context, window_id, how, Killed(), alone=alone)


def held(engine: Engine, window_id: int) -> tuple[int, int]:
    window = work(engine, window_id).window
    return window.deliveries, window.deaths


def test_a_first_delivery_is_not_counted(context: Context, customer: Customer) -> None:
    window_id = record(context.engine, customer, claim(context.engine, customer), 0, 9)
    assert killed_at(context, window_id, FIRST) is DeliveryAction.WORK
    assert held(context.engine, window_id) == (0, 0)


@pytest.mark.parametrize("how", [REDELIVERED, DEAD])
def test_a_window_of_many_batches_is_split_after_three_bad_ends(
    context: Context, customer: Customer, how: Delivery
) -> None:
    window_id = record(context.engine, customer, claim(context.engine, customer), 0, 9)
    actions = [killed_at(context, window_id, delivery) for delivery in (FIRST, how, how, how)]
    assert actions == [DeliveryAction.WORK, DeliveryAction.WORK, DeliveryAction.WORK, DeliveryAction.SPLIT]


def test_a_half_is_split_after_one_more_bad_end(context: Context, customer: Customer) -> None:
    engine = context.engine
    window_id = record(engine, customer, claim(engine, customer), 0, 9)
    parts = halves(work(engine, window_id).window, deliveries=context.settings.deliveries - 2)
    with begin(engine) as connection:
        left, right = windows.split(connection, window_id, parts)
    assert [killed_at(context, left, how) for how in (FIRST, DEAD)] == [
        DeliveryAction.WORK,
        DeliveryAction.SPLIT,
    ]
    with decided(context, work(engine, right), FIRST) as decision:
        assert decision.action is DeliveryAction.WORK
    assert held(engine, right) == (context.settings.deliveries - 2, 0)


def test_a_batch_alone_is_refused_after_three_deaths_of_its_own(context: Context, customer: Customer) -> None:
    window_id = record(context.engine, customer, claim(context.engine, customer), 0, 0)
    actions = [killed_at(context, window_id, how) for how in (FIRST, DEAD, DEAD, DEAD)]
    assert actions == [DeliveryAction.WORK, DeliveryAction.WORK, DeliveryAction.WORK, DeliveryAction.REFUSE]


def test_a_batch_alone_is_never_refused_for_restarts_but_left_to_be_rung_later(
    context: Context, customer: Customer
) -> None:
    window_id = record(context.engine, customer, claim(context.engine, customer), 0, 0)
    actions = [killed_at(context, window_id, REDELIVERED) for _ in range(20)]
    assert actions == [DeliveryAction.WORK, DeliveryAction.WORK] + [DeliveryAction.LEAVE] * 18
    assert killed_at(context, window_id, FIRST) is DeliveryAction.WORK
    assert held(context.engine, window_id)[1] == 0


def test_what_ends_well_or_for_an_external_reason_is_held_against_nothing(
    context: Context, customer: Customer
) -> None:
    window_id = record(context.engine, customer, claim(context.engine, customer), 0, 9)
    for _ in range(5):
        with decided(context, work(context.engine, window_id), REDELIVERED) as decision:
            assert decision.action is DeliveryAction.WORK
        assert ends(context, window_id, REDELIVERED, DatabaseUnavailable("away")) is DeliveryAction.WORK
    assert held(context.engine, window_id) == (0, 0)


def test_an_error_that_nobody_foresaw_is_held_against_the_window(
    context: Context, customer: Customer
) -> None:
    window_id = record(context.engine, customer, claim(context.engine, customer), 0, 9)
    ends(context, window_id, DEAD, ZeroDivisionError())
    assert held(context.engine, window_id) == (1, 1)


def test_a_window_that_was_deposited_meanwhile_is_let_go(context: Context, customer: Customer) -> None:
    engine = context.engine
    window_id = record(engine, customer, claim(engine, customer), 0, 0)
    before = work(engine, window_id)
    deposit(engine, customer, 0, [deposited(window_id, batches=1, kept=1)])
    with pytest.raises(LostRace), decided(context, before, DEAD):
        raise AssertionError("it was let in")


def test_a_deposits_death_is_that_of_the_window_it_was_at(context: Context, customer: Customer) -> None:
    engine, epoch = context.engine, claim(context.engine, customer)
    innocent, guilty, later = (record(engine, customer, epoch, at, at) for at in range(3))
    again = Delivery("deposit-1", died_of="worker_died: signal 11 (SIGSEGV)")
    with decided(context, work(engine, innocent), again, alone=True):
        pass
    killed_at(context, guilty, again, alone=True)
    killed_at(context, guilty, Delivery("deposit-2", redelivered=True), alone=True)
    with begin(engine) as connection:
        for name in ("deposit-1", "deposit-2", "deposit-2", "deposit"):
            db.ledger.bad_ends.died_trying(connection, customer.id, name, "worker_died: signal 11 (SIGSEGV)")
    assert [held(engine, one) for one in (innocent, guilty, later)] == [(0, 0), (2, 2), (0, 0)]


def test_a_part_can_begin_with_what_was_held_against_its_window(context: Context, customer: Customer) -> None:
    engine = context.engine
    window_id = record(engine, customer, claim(engine, customer), 0, 0)
    part = Part(
        first_offset=0, last_offset=0, skipped=(), batches=1, bytes=1, deliveries=5, deaths=3, cause="x: y"
    )
    with begin(engine) as connection:
        (renewed,) = windows.split(connection, window_id, [part])
    assert held(engine, renewed) == (5, 3)
    with decided(context, work(engine, renewed), FIRST) as decision:
        assert (decision.action, decision.bad_ends.cause) == (DeliveryAction.REFUSE, "x: y")
    with read(engine) as connection:
        assert books.ledger(connection, customer.id).differences() == []

"""Who serves a customer when dispatchers come and go, on whichever host."""

from sqlalchemy import Engine

import db.ledger.dispatch
from db.engine import begin
from tasks.dispatcher.leases import Leases
from tests.integration.ledger_rows import add_customer
from tests.whole import until

ELSEWHERE = "another-host:1:1:abcd"


def held(engine: Engine, leases: Leases, customer_id: int) -> bool:
    with begin(engine) as connection:
        leases.tick(connection, {customer_id})
    return customer_id in leases.held


def test_a_lease_whose_beat_stands_still_is_taken_over_under_a_new_epoch(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    with begin(engine) as connection:
        epoch = db.ledger.dispatch.claim(connection, customer.id, ELSEWHERE)
    assert epoch is not None
    leases = Leases(stale_s=1.0)
    assert not held(engine, leases, customer.id)
    until(lambda: held(engine, leases, customer.id), "the dead holder's lease")
    assert leases.held[customer.id] > epoch


def test_a_lease_whose_holder_beats_is_left_alone(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    with begin(engine) as connection:
        db.ledger.dispatch.claim(connection, customer.id, ELSEWHERE)
    leases = Leases(stale_s=0.2)
    for _ in range(50):
        with begin(engine) as connection:
            assert db.ledger.dispatch.renew(connection, ELSEWHERE, [customer.id]) == {customer.id}
        assert not held(engine, leases, customer.id)


def test_a_lease_of_a_process_of_this_host_that_is_gone_is_taken_over_at_once(
    engine: Engine, slug: str
) -> None:
    customer, mine = add_customer(engine, slug), Leases(stale_s=3600)
    host = mine.holder.partition(":")[0]
    with begin(engine) as connection:
        db.ledger.dispatch.claim(connection, customer.id, f"{host}:999999999:1:abcd")
    assert held(engine, mine, customer.id)

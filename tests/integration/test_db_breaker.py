"""The breaker's rows: opened once, closed with new tokens, and the minute that it is decided by."""

from dataclasses import replace

from sqlalchemy import Engine

from db.customers import rows as customers
from db.engine import begin, read
from db.ledger import bad_ends, breaker, deposits, windows
from db.ledger.breaker import Outcomes
from tests.integration.ledger_rows import NOW_US, add_customer, claim, deposit, deposited, record


def test_a_breaker_opens_once_and_its_customer_is_served_no_more(engine: Engine, slug: str) -> None:
    broken, other = add_customer(engine, slug), add_customer(engine, f"{slug}-other")
    with begin(engine) as conn:
        assert breaker.trip(conn, broken.id, "malformed", NOW_US)
        assert not breaker.trip(conn, broken.id, "bad_time", NOW_US + 1)
        found = customers.get(conn, slug)
        assert [one.id for one in customers.served(conn)] == [other.id]
        assert deposits.state(conn, broken.id, 0).halted
        assert not deposits.state(conn, other.id, 0).halted
    assert found is not None
    assert (found.state, found.shown_state) == ("active", "breaker open")
    assert (found.breaker_reason, found.breaker_opened_at) == ("malformed", NOW_US)


def test_a_reset_gives_owed_windows_new_tokens_and_a_clean_sheet(engine: Engine, slug: str) -> None:
    customer, other = add_customer(engine, slug), add_customer(engine, f"{slug}-other")
    epoch = claim(engine, customer)
    done, owed = record(engine, customer, epoch, 0, 0), record(engine, customer, epoch, 1, 1)
    deposit(engine, customer, 0, [deposited(done, batches=1)])
    theirs = record(engine, other, claim(engine, other), 0, 0)
    with begin(engine) as conn:
        bad_ends.count(conn, owed, died_of="worker_died: signal 9 (SIGKILL)")
        before = {one: windows.get(conn, one) for one in (done, owed, theirs)}
        breaker.trip(conn, customer.id, "malformed", NOW_US)
        assert breaker.reset(conn, customer.id) == 1
        after = {one: windows.get(conn, one) for one in (done, owed, theirs)}
        assert not deposits.state(conn, customer.id, owed).halted
    assert before[done] == after[done]
    assert before[theirs] == after[theirs]
    changed, was = after[owed], before[owed]
    assert changed is not None
    assert was is not None
    assert changed.token != was.token
    assert (changed.deliveries, changed.deaths, changed.cause) == (0, 0, None)


def test_accepting_failures_keeps_what_is_held_against_windows(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    owed = record(engine, customer, claim(engine, customer), 0, 0)
    with begin(engine) as conn:
        bad_ends.count(conn, owed, died_of="worker_died: signal 9 (SIGKILL)")
        breaker.trip(conn, customer.id, "worker_died", NOW_US)
        breaker.reset(conn, customer.id, accept_upto=0)
        window = windows.get(conn, owed)
        assert deposits.state(conn, customer.id, owed).accepted_upto == 0
    assert window is not None
    assert (window.deliveries, window.deaths) == (1, 1)


def test_the_minute_is_the_customers_own_and_without_what_was_accepted(engine: Engine, slug: str) -> None:
    customer, other = add_customer(engine, slug), add_customer(engine, f"{slug}-other")
    epoch = claim(engine, customer)
    ids = [record(engine, customer, epoch, first, first + 9) for first in (0, 10, 20)]
    theirs = record(engine, other, claim(engine, other), 0, 9)
    failed = {"malformed": 6, "bad_time": 1}
    closing = [
        replace(deposited(one, batches=10, quarantined=7, kept=3), failures=failed) for one in [*ids, theirs]
    ]
    deposit(engine, customer, 0, closing[:1], NOW_US)
    deposit(engine, customer, 1, closing[1:2], NOW_US + 10)
    deposit(engine, customer, 2, [deposited(ids[2], batches=10, kept=10)], NOW_US + 20)
    deposit(engine, other, 0, closing[3:], NOW_US + 30)
    with read(engine) as conn:
        everything = breaker.outcomes(conn, customer.id, NOW_US - 1, -1)
        lately = breaker.outcomes(conn, customer.id, NOW_US, -1)
        unaccepted = breaker.outcomes(conn, customer.id, NOW_US - 1, 10)
        assert deposits.position(conn, customer.id) == 3
    assert everything == Outcomes(batches=30, failures={"malformed": 12, "bad_time": 2})
    assert lately == Outcomes(batches=20, failures=failed)
    assert unaccepted == Outcomes(batches=10, failures={})


def test_resuming_a_customer_whose_breaker_is_closed_leaves_its_windows_alone(
    engine: Engine, slug: str
) -> None:
    customer = add_customer(engine, slug)
    owed = record(engine, customer, claim(engine, customer), 0, 0)
    with begin(engine) as conn:
        before = windows.get(conn, owed)
        assert breaker.reset(conn, customer.id) == 0
        assert windows.get(conn, owed) == before

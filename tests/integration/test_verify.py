"""`flask verify` over many slices: short transactions, windows that are split meanwhile, and going on."""

import time
from collections.abc import Callable
from functools import partial

import pytest
from sqlalchemy import event

import db.customers.rows
import db.ledger.generations
import db.ledger.windows
from db.customers.rows import Customer
from db.engine import begin, read
from db.ledger.windows import Part
from db.retention.folding import fold
from db.retention.forgetting import delete_windows
from streams import raw
from streams.errors import BrokerUnavailable
from tests import envelopes
from tests.commands import flask, flask_json
from tests.integration import ledger_rows
from tests.receiver import Home
from webapp.accounting import verification
from webapp.accounting.proof import Proof
from webapp.accounting.verification import verify
from webapp.terminal.exits import Exit

NOW_US = time.time_ns() // 1000
WINDOWS = ((0, 3), (4, 7), (8, 11))


@pytest.fixture
def customer(home: Home, slug: str, monkeypatch: pytest.MonkeyPatch) -> Customer:
    """Three windows of four batches, each batch a chunk of its own; slices of three batches."""
    monkeypatch.setattr(verification, "SLICE", 3)
    home.add(slug)
    for offset in range(12):
        one = envelopes.envelope(slug, f"batch-{offset}", b"%d" % offset, accepted_at_us=NOW_US)
        home.broker.publish(raw(slug), one, deadline_s=30)
    with read(home.engine) as connection:
        customer = db.customers.rows.get(connection, slug)
    assert customer is not None
    digests = [one.digest for one in home.envelopes(slug)]
    epoch = ledger_rows.claim(home.engine, customer)
    for first, last in WINDOWS:
        batches = [
            ledger_rows.new_batch(offset, digest=digests[offset], accepted_at=NOW_US)
            for offset in range(first, last + 1)
        ]
        ledger_rows.record(home.engine, customer, epoch, first, last, batches=batches)
    return customer


def split(home: Home, customer: Customer, first_offset: int) -> None:
    """Into halves."""
    with begin(home.engine) as connection:
        [window] = [
            one for one in db.ledger.windows.open(connection, customer.id) if one.first_offset == first_offset
        ]
        middle = (window.first_offset + window.last_offset) // 2
        halves = [(window.first_offset, middle), (middle + 1, window.last_offset)]
        parts = [
            Part(first_offset=first, last_offset=last, skipped=[], batches=last - first + 1, bytes=1)
            for first, last in halves
        ]
        db.ledger.windows.split(connection, window.id, parts)


def verified(
    home: Home,
    customer: Customer,
    *meanwhile: Callable[[], None],
    proof: Proof | None = None,
    from_offset: int = 0,
) -> Proof:
    """After each slice the next of `meanwhile` is done. `proof` is there when one of them raises."""
    proof, left = Proof() if proof is None else proof, list(meanwhile)

    def progress(_done: int, _due: int) -> None:
        if left:
            left.pop(0)()

    verify(
        home.engine,
        home.broker,
        customer,
        proof,
        remember_days=7,
        deadline_s=30,
        progress=progress,
        from_offset=from_offset,
    )
    return proof


def test_no_transaction_outlasts_a_slice(home: Home, customer: Customer) -> None:
    held: list[int] = []
    pool = home.engine.pool
    proof = verified(home, customer, *[partial(lambda: held.append(pool.checkedout()))] * 4)  # type: ignore[attr-defined] # a QueuePool
    assert (proof.read, held) == (12, [0, 0, 0, 0])


@pytest.mark.parametrize("of", [window[0] for window in WINDOWS])
def test_a_window_that_is_split_while_it_is_verified_is_no_difference(
    home: Home, customer: Customer, of: int
) -> None:
    proof = verified(home, customer, partial(split, home, customer, of))
    assert (proof.differences, proof.read) == ([], 12)


def test_a_generation_that_begins_meanwhile_ends_the_verification_and_is_no_difference(
    home: Home, customer: Customer
) -> None:
    def replaced() -> None:
        epoch = ledger_rows.claim(home.engine, customer)
        with begin(home.engine) as connection:
            db.ledger.generations.begin(
                connection,
                customer_id=customer.id,
                epoch=epoch,
                kind="replaced",
                before=12,
                after=0,
                edge=None,
                now_us=NOW_US,
            )

    with pytest.raises(BrokerUnavailable, match="meanwhile"):
        verified(home, customer, partial(replaced))


def test_parts_of_parts_are_found_in_place_of_their_windows(home: Home, customer: Customer) -> None:
    for first_offset in (8, 0, 2, 4):
        split(home, customer, first_offset)
    proof = verified(home, customer)
    assert (proof.differences, proof.read, proof.windows) == ([], 12, 7)


def test_a_verification_that_was_stopped_goes_on_where_it_was(home: Home, customer: Customer) -> None:
    class Stopped(Exception):
        """As an interrupt would."""

    def stop() -> None:
        raise Stopped

    proof = Proof()
    with pytest.raises(Stopped):
        verified(home, customer, stop, proof=proof)
    assert proof.reached == 3
    rest = flask_json(home, "verify", customer.slug, "--from", str(proof.reached))
    assert (rest["first_offset"], rest["read"], rest["differences"]) == (3, 9, [])


def test_a_verification_that_goes_on_behind_the_cursor_has_nothing_to_do(
    home: Home, customer: Customer
) -> None:
    assert flask(home, "verify", customer.slug, "--from", "4711").exit_code == Exit.OK


def test_it_is_asked_once_whether_windows_are_pruned_for_all_gaps_before_the_first_window(
    home: Home, customer: Customer
) -> None:
    with read(home.engine) as connection:
        ids = [one.id for one in db.ledger.windows.open(connection, customer.id)]
    ledger_rows.deposit(home.engine, customer, 0, [ledger_rows.deposited(one) for one in ids])
    with begin(home.engine) as connection:
        fold(connection, customer.id)
        assert delete_windows(connection, customer.id, NOW_US, 10) == 2
    asked: list[str] = []

    def look(_connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if statement.startswith("SELECT count(*)") and "FROM windows" in statement:
            asked.append(statement)

    event.listen(home.engine, "before_cursor_execute", look)
    try:
        proof = verified(home, customer)
    finally:
        event.remove(home.engine, "before_cursor_execute", look)
    assert (proof.differences, proof.unprovable, len(asked)) == ([], 8, 1)

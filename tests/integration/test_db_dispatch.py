"""The dispatcher's transaction: the cursor moves once, for whoever holds the lease."""

from functools import partial

import pytest
from sqlalchemy import Engine

from db.accounting import books
from db.engine import begin, read
from db.ledger import dispatch, generations, windows
from db.ledger.dispatch import LostLease
from db.quarantine import rows as quarantine
from tests.integration.ledger_rows import (
    add_customer,
    at_once,
    claim,
    new_batch,
    new_quarantine,
    new_window,
    record,
)


def test_a_record_moves_the_cursor_and_remembers_the_batches(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    window_id = record(engine, customer, epoch, 0, 2)
    with read(engine) as conn:
        position = dispatch.position(conn, customer.id)
        known = dispatch.known(conn, {customer.id: ["batch-1", "batch-7"]})[customer.id]
        window = windows.get(conn, window_id)
    assert (position.next_offset, position.batches) == (3, 3)
    assert known == {"batch-1": ((1).to_bytes(32, "big"), False)}
    assert window is not None
    assert (window.state, window.first_offset, window.last_offset, window.rings) == ("dispatched", 0, 2, 1)


def test_a_repeated_record_is_refused_and_writes_nothing(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    record(engine, customer, epoch, 0, 2)
    other_ids = [new_batch(offset, batch_id=f"other-{offset}") for offset in range(3)]
    with pytest.raises(LostLease):
        record(engine, customer, epoch, 0, 2, batches=other_ids)
    with read(engine) as conn:
        assert dispatch.position(conn, customer.id).batches == 3
        assert len(windows.open(conn, customer.id)) == 1
        assert dispatch.known(conn, {customer.id: ["other-0"]})[customer.id] == {}


def test_a_holder_of_an_older_epoch_is_refused(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    stale = claim(engine, customer, "first")
    fresh = claim(engine, customer, "second")
    with pytest.raises(LostLease):
        record(engine, customer, stale, 0, 2)
    record(engine, customer, fresh, 0, 2)


def test_of_two_dispatchers_that_record_at_once_exactly_one_wins(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    for start in range(0, 30, 3):
        cut = partial(record, engine, customer, epoch, start, start + 2)
        outcomes = at_once([cut, cut])
        assert sum(isinstance(outcome, LostLease) for outcome in outcomes) == 1, outcomes
    with read(engine) as conn:
        assert dispatch.position(conn, customer.id).next_offset == 30
        assert len(windows.open(conn, customer.id)) == 10


def test_a_lease_is_claimed_once_for_an_epoch_that_two_have_seen(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    seen = claim(engine, customer, "dead")

    def take(holder: str) -> int | None:
        with begin(engine) as conn:
            return dispatch.claim(conn, customer.id, holder, seen)

    assert set(at_once([partial(take, "one"), partial(take, "other")])) == {seen + 1, None}


def test_renewing_beats_only_for_what_is_still_held(engine: Engine, slug: str) -> None:
    mine, taken = add_customer(engine, f"{slug}-a"), add_customer(engine, f"{slug}-b")
    claim(engine, mine, "first")
    claim(engine, taken, "first")
    claim(engine, taken, "second")
    with begin(engine) as conn:
        before = {lease.customer_id: lease for lease in dispatch.peek(conn)}
        kept = dispatch.renew(conn, "first", [mine.id, taken.id])
        after = {lease.customer_id: lease for lease in dispatch.peek(conn)}
    assert kept == {mine.id}
    assert after[mine.id].beat == before[mine.id].beat + 1
    assert after[taken.id] == before[taken.id]


def test_a_released_lease_has_no_holder_and_keeps_its_epoch(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer, "first")
    with begin(engine) as conn:
        dispatch.release(conn, "first", [customer.id])
        (lease,) = dispatch.peek(conn)
    assert (lease.holder, lease.epoch) == (None, epoch)


def test_what_never_comes_into_a_window_is_counted_by_its_kind(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    window_id = record(
        engine,
        customer,
        epoch,
        3,
        9,
        next_offset_before=0,
        window=new_window(3, 9, batches=0, skipped=range(3, 10)),
        batches=[new_batch(9, discarded=True)],
        duplicates=4,
        reused=[new_quarantine(8)],
        discarded=2,
        expired=3,
    )
    with read(engine) as conn:
        ledger = books.ledger(conn, customer.id)
        window = windows.get(conn, window_id)
        held = quarantine.listing(conn, customer.id)
    assert (ledger.batches, ledger.duplicates, ledger.reused, ledger.discarded, ledger.expired) == (
        10,
        4,
        1,
        2,
        3,
    )
    assert ledger.differences() == []
    assert window is not None
    assert (window.state, window.skipped) == ("deposited", list(range(3, 10)))
    assert [(one.reason, one.stream_offset, one.row) for one in held] == [("batch_id_reused", 8, None)]


def test_counts_that_contradict_the_batches_are_refused(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    with pytest.raises(ValueError, match="batches"):
        record(engine, customer, epoch, 0, 2, batches=[new_batch(0)])
    with pytest.raises(ValueError, match="forward"):
        record(engine, customer, epoch, 0, 2, next_offset_after=0)


def test_a_generation_begins_with_what_open_windows_lost_booked_as_expired(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    whole = record(engine, customer, epoch, 0, 9)
    with begin(engine) as conn:
        begun = generations.begin(
            conn,
            customer_id=customer.id,
            epoch=epoch,
            kind="cut",
            before=10,
            after=4,
            edge=b"e" * 8,
            now_us=7,
        )
        position = dispatch.position(conn, customer.id)
        window = windows.get(conn, whole)
        ledger = books.ledger(conn, customer.id)
    assert (position.next_offset, position.generation, position.batches, position.expired) == (4, 1, 10, 6)
    assert (begun.generation, begun.expired, begun.cursor_before) == (1, 6, 10)
    assert window is not None
    assert (window.state, window.batches, window.skipped) == ("dispatched", 4, list(range(4, 10)))
    assert ledger.differences() == []
    with begin(engine) as conn:
        assert set(dispatch.known(conn, {customer.id: [f"batch-{at}" for at in range(10)]})[customer.id]) == {
            f"batch-{at}" for at in range(4)
        }
    with pytest.raises(LostLease), begin(engine) as conn:
        generations.begin(
            conn, customer_id=customer.id, epoch=epoch, kind="cut", before=10, after=4, edge=None, now_us=7
        )


def test_batch_ids_of_one_customer_are_unknown_to_another(engine: Engine, slug: str) -> None:
    one, other = add_customer(engine, f"{slug}-a"), add_customer(engine, f"{slug}-b")
    record(engine, one, claim(engine, one), 0, 0)
    with read(engine) as conn:
        assert dispatch.known(conn, {other.id: ["batch-0"]})[other.id] == {}
    record(engine, other, claim(engine, other), 0, 0)

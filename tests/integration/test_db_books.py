"""The books balance at any moment, before and after rows are folded and pruned, and say when not."""

import random
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from sqlalchemy import Engine, update

from db import tables
from db.accounting import books
from db.customers.rows import Customer
from db.engine import begin, connect, read
from db.ledger import dispatch, windows
from db.ledger.windows import Part
from db.retention.folding import fold
from db.retention.forgetting import delete_windows
from db.settings import DatabaseSettings
from tests.integration.ledger_rows import (
    DAILY_BYTES,
    NOW_US,
    add_customer,
    at_once,
    claim,
    deposit,
    deposited,
    new_batch,
    new_quarantine,
    new_window,
    record,
)


def some_history(engine: Engine, customer: Customer, seed: int, steps: int) -> Counter[str]:
    """Random cuts, splits, deposits and folds; returns what they add up to."""
    chance, epoch, tally = random.Random(seed), claim(engine, customer), Counter[str]()
    offset = cursor = 0
    for _ in range(steps):
        match chance.choice(["record", "record", "split", "deposit", "fold"]):
            case "record":
                offset += _some_cut(engine, customer, chance, epoch, offset, tally)
            case "split":
                _split_one(engine, customer, chance)
            case "deposit":
                cursor += _deposit_some(engine, customer, chance, cursor, tally)
            case "fold":
                with begin(engine) as conn:
                    fold(conn, customer.id)
    return tally


def _some_cut(
    engine: Engine, customer: Customer, chance: random.Random, epoch: int, offset: int, tally: Counter[str]
) -> int:
    kinds = [
        chance.choice(["fresh", "fresh", "duplicates", "reused", "discarded", "expired"]) for _ in range(9)
    ]
    seen = Counter(kinds)
    fresh = [offset + place for place, kind in enumerate(kinds) if kind == "fresh"]
    reused = [new_quarantine(offset + place) for place, kind in enumerate(kinds) if kind == "reused"]
    changes = {kind: seen[kind] for kind in ("duplicates", "discarded", "expired")}
    window = new_window(offset, offset + 8, batches=len(fresh))
    batches = [new_batch(place) for place in fresh]
    record(
        engine, customer, epoch, offset, offset + 8, window=window, batches=batches, reused=reused, **changes
    )
    tally.update(changes, batches=9, reused=seen["reused"], fresh=seen["fresh"])
    return 9


def _split_one(engine: Engine, customer: Customer, chance: random.Random) -> None:
    with begin(engine) as conn:
        large = [one for one in windows.open(conn, customer.id) if one.batches > 1]
        if large:
            one = chance.choice(large)
            halves = [(one.first_offset, one.batches - 1), (one.last_offset, 1)]
            parts = [Part(first_offset=a, last_offset=a, skipped=[], batches=n, bytes=1) for a, n in halves]
            windows.split(conn, one.id, parts)


def _deposit_some(
    engine: Engine, customer: Customer, chance: random.Random, cursor: int, tally: Counter[str]
) -> int:
    with read(engine) as conn:
        ready = [one for one in windows.open(conn, customer.id) if chance.random() < 0.6]
    marks = []
    for one in ready:
        counts = {name: chance.randrange(50) for name in ("kept", "dropped", "rejected")}
        unfit = chance.randrange(one.batches + 1)
        marks.append(deposited(one.id, **counts, quarantined=unfit))
        tally.update(counts, unfit=unfit, deposited=one.batches - unfit)
    deposit(engine, customer, cursor, marks)
    return len(marks)


@pytest.mark.parametrize("seed", range(2))
def test_the_books_follow_any_history(engine: Engine, slug: str, seed: int) -> None:
    customer = add_customer(engine, slug)
    add_customer(engine, f"{slug}-idle")
    tally = some_history(engine, customer, seed, steps=60)
    with read(engine) as conn:
        ledger, everyone = books.ledger(conn, customer.id), books.ledgers(conn)
    assert ledger.differences() == []
    assert everyone[customer.id] == ledger
    assert ledger.batches == tally["batches"]
    assert ledger.quarantined == tally["unfit"] + tally["reused"]
    assert (ledger.deposited, ledger.kept) == (tally["deposited"], tally["kept"])
    assert ledger.in_flight == tally["fresh"] - tally["deposited"] - tally["unfit"]


def test_folding_and_deleting_windows_does_not_change_the_books(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    some_history(engine, customer, seed=5, steps=80)
    with begin(engine) as conn:
        before = books.ledger(conn, customer.id)
        fold(conn, customer.id)
        folded = books.ledger(conn, customer.id)
        deleted = delete_windows(conn, customer.id, NOW_US + 1, 10_000)
        after = books.ledger(conn, customer.id)
        still_open = len(windows.open(conn, customer.id))
    assert folded == before == after
    assert deleted > 0
    assert still_open == before.windows_in_flight


def test_an_open_window_is_neither_folded_nor_deleted(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    first, second = record(engine, customer, epoch, 0, 0), record(engine, customer, epoch, 1, 1)
    deposit(engine, customer, 0, [deposited(second, kept=5)])
    with begin(engine) as conn:
        assert fold(conn, customer.id) == 0
        assert delete_windows(conn, customer.id, NOW_US + 1, 10) == 0
    deposit(engine, customer, 1, [deposited(first, kept=3)])
    with begin(engine) as conn:
        assert fold(conn, customer.id) == 2
        assert books.ledger(conn, customer.id).kept == 8
        assert delete_windows(conn, customer.id, NOW_US + 1, 10) == 1, "all but the newest"


def test_folding_beside_records_and_deposits_loses_none(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)

    def work() -> None:
        for number in range(30):
            window_id = record(engine, customer, epoch, number, number)
            deposit(engine, customer, number, [deposited(window_id, kept=1)])

    def fold_on() -> None:
        for _ in range(30):
            with begin(engine) as conn:
                fold(conn, customer.id)

    assert at_once([work, fold_on]) == [None, None]
    with read(engine) as conn:
        ledger = books.ledger(conn, customer.id)
    assert (ledger.kept, ledger.windows_deposited, ledger.differences()) == (30, 30, [])


def test_a_window_that_commits_late_under_a_low_id_is_not_missed(postgresql_url: str, slug: str) -> None:
    engine = connect(DatabaseSettings(url=postgresql_url), pooled=False)
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    first = record(engine, customer, epoch, 0, 1)
    halves = [Part(first_offset=n, last_offset=n, skipped=[], batches=1, bytes=1) for n in (0, 1)]
    with ThreadPoolExecutor(1) as thread:
        with begin(engine) as late:
            low = dispatch.record(
                late,
                customer_id=customer.id,
                epoch=epoch,
                next_offset_before=2,
                next_offset_after=3,
                window=new_window(2, 2),
                batches=[new_batch(2)],
                duplicates=0,
                reused=(),
                discarded=0,
                expired=0,
                quarantine_daily_bytes=DAILY_BYTES,
            )
            assert low is not None
            with begin(engine) as conn:
                children = windows.split(conn, first, halves)
            deposit(engine, customer, 0, [deposited(one, kept=1) for one in children])
            folding = thread.submit(fold_in_its_own_transaction, engine, customer)
            with pytest.raises(TimeoutError):
                folding.result(0.3)  # it waits for the window that is about to be there
        folding.result(30)
    assert low < min(children)
    deposit(engine, customer, 2, [deposited(low, kept=1)])
    with read(engine) as conn:
        ledger = books.ledger(conn, customer.id)
    assert (ledger.kept, ledger.differences()) == (3, [])


def fold_in_its_own_transaction(engine: Engine, customer: Customer) -> None:
    with begin(engine) as conn:
        fold(conn, customer.id)


def test_what_does_not_balance_is_named(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    window_id = record(engine, customer, claim(engine, customer), 0, 4)
    deposit(engine, customer, 0, [replace(deposited(window_id, kept=5), decoded=6)])
    with begin(engine) as conn:
        conn.execute(update(tables.dispatch).values(batches=7))
        batches, offsets, events = books.ledger(conn, customer.id).differences()
    assert batches.startswith("7 batches passed, but 5 booked")
    assert offsets == "the cursor moved from 0 to 5, but 7 batches passed"
    assert events.startswith("6 events decoded, but 5 booked")


def test_the_books_of_nobody_are_an_error(engine: Engine) -> None:
    with pytest.raises(LookupError), read(engine) as conn:
        books.ledger(conn, 1)

"""What an operator and a customer ask: how far behind, where is my batch, what was refused."""

import pytest
from sqlalchemy import Engine

from db.accounting import lag, receipts
from db.engine import begin, read
from db.quarantine import acts, rows as quarantine
from tests.integration.ledger_rows import (
    DAILY_BYTES,
    NOW_US,
    add_customer,
    claim,
    deposit,
    deposited,
    new_batch,
    new_quarantine,
    new_window,
    record,
)


def test_lag_tells_what_is_in_flight_and_how_long_the_rest_took(engine: Engine, slug: str) -> None:
    busy, idle = add_customer(engine, f"{slug}-a"), add_customer(engine, f"{slug}-b")
    epoch = claim(engine, busy)
    batches = [new_batch(offset, accepted_at=NOW_US - 1000 * offset) for offset in range(100)]
    done = record(engine, busy, epoch, 0, 99, batches=batches)
    record(engine, busy, epoch, 100, 104, window=new_window(100, 104, first_accepted_at=NOW_US - 7))
    deposit(engine, busy, 0, [deposited(done, kept=90, dropped=10)], NOW_US + 500)
    with read(engine) as conn:
        first, second = lag.lag(conn, NOW_US + 1_000_000, seconds=10)
        later, _ = lag.lag(conn, NOW_US + 60_000_000, seconds=10)
    assert (first.slug, first.windows, first.batches, first.oldest_accepted_at) == (
        busy.slug,
        1,
        5,
        NOW_US - 7,
    )
    assert (first.deposited_batches, first.deposited_events) == (100, 100)
    assert first.latency == lag.DepositLatency(
        batches=100, p50_us=50_500, p99_us=99_500, p999_us=99_500, max_us=99_500
    )
    assert (second.slug, second.windows, second.oldest_accepted_at, second.latency) == (
        idle.slug,
        0,
        None,
        None,
    )
    assert (later.deposited_events, later.latency, later.windows) == (0, None, 1)


def test_a_receipt_follows_a_batch_from_dispatch_to_deposit(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    window_id = record(engine, customer, claim(engine, customer), 0, 4)
    with read(engine) as conn:
        assert receipts.find(conn, customer.id, "batch-9") is None
        before = receipts.find(conn, customer.id, "batch-3")
    rejected = [new_quarantine(3, row=row, window_id=window_id, reason="bad_id") for row in (1, 5)]
    with begin(engine) as conn:
        quarantine.add(conn, customer.id, rejected, daily_bytes=DAILY_BYTES)
    deposit(engine, customer, 0, [deposited(window_id, kept=5, rejected=2)], NOW_US + 9)
    with read(engine) as conn:
        after = receipts.find(conn, customer.id, "batch-3")
    assert before is not None
    assert after is not None
    assert (before.state, before.window_id, before.deposited_at) == ("dispatched", window_id, None)
    assert (after.state, after.stream_offset, after.deposited_at, after.rejected) == (
        "deposited",
        3,
        NOW_US + 9,
        2,
    )


def test_a_receipt_tells_quarantined_discarded_and_reused_apart(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    window = new_window(0, 4, batches=2, skipped=[2, 3, 4])
    batches = [new_batch(0), new_batch(1), new_batch(2, discarded=True)]
    reused = [
        new_quarantine(3, batch_id="batch-0"),
        new_quarantine(4, batch_id="", reason="not_an_envelope"),
    ]
    epoch = claim(engine, customer)
    window_id = record(
        engine, customer, epoch, 0, 4, window=window, batches=batches, reused=reused, discarded=1
    )
    with begin(engine) as conn:
        unfit = new_quarantine(1, window_id=window_id, reason="bad_encoding")
        quarantine.add(conn, customer.id, [unfit], daily_bytes=DAILY_BYTES)
    deposit(engine, customer, 0, [deposited(window_id, kept=5, quarantined=1)])
    with read(engine) as conn:
        found = [receipts.find(conn, customer.id, f"batch-{n}") for n in range(3)]
    assert [(one.state, one.reasons) for one in found if one] == [
        ("deposited", ("batch_id_reused",)),
        ("quarantined", ("bad_encoding",)),
        ("discarded", ()),
    ]


def test_quarantine_is_listed_newest_first_by_pages_and_shown_with_its_bytes(
    engine: Engine, slug: str
) -> None:
    one, other = add_customer(engine, f"{slug}-a"), add_customer(engine, f"{slug}-b")
    data = bytes(range(256))
    with begin(engine) as conn:
        rows = [
            new_quarantine(n, reason="odd" if n % 2 else "even", detail="nul \0 here", bytes=data)
            for n in range(6)
        ]
        quarantine.add(conn, one.id, rows, daily_bytes=DAILY_BYTES)
        quarantine.add(conn, other.id, [new_quarantine(99)], daily_bytes=DAILY_BYTES)
        quarantine.add(conn, other.id, [], daily_bytes=DAILY_BYTES)
    with read(engine) as conn:
        page = quarantine.listing(conn, one.id, limit=2)
        rest = quarantine.listing(conn, one.id, before_id=page[-1].id)
        odd = quarantine.listing(conn, one.id, reason="odd", state="kept")
        shown = quarantine.show(conn, odd[0].id)
        assert quarantine.listing(conn, one.id, state="replayed") == []
        assert quarantine.show(conn, 10**9) is None
    assert [row.stream_offset for row in page + rest] == [5, 4, 3, 2, 1, 0]
    assert [row.stream_offset for row in odd] == [5, 3, 1]
    assert shown is not None
    assert shown == (odd[0], data)
    assert (shown[0].size, shown[0].detail) == (256, "nul \ufffd here")


@pytest.mark.parametrize("batch_id", ["back\\slash", "tab\there", "\\N", "ünïcode", "'; --"])
def test_odd_batch_ids_are_remembered_as_they_are(engine: Engine, slug: str, batch_id: str) -> None:
    customer = add_customer(engine, slug)
    record(engine, customer, claim(engine, customer), 0, 0, batches=[new_batch(0, batch_id=batch_id)])
    with read(engine) as conn:
        receipt = receipts.find(conn, customer.id, batch_id)
    assert receipt is not None
    assert receipt.batch_id == batch_id


def test_a_row_is_either_replayed_or_discarded(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    with begin(engine) as conn:
        quarantine.add(
            conn, customer.id, [new_quarantine(offset) for offset in range(2)], daily_bytes=DAILY_BYTES
        )
        second, first = (row.id for row in quarantine.listing(conn, customer.id))
        acts.begin_replay(conn, {first: "replay-1"}, NOW_US)
        assert acts.discard(conn, [first, second]) == [second]
        locked = acts.lock(conn, [first, second], acts.REPLAYABLE)
        assert [(row.id, row.state, data) for row, data in locked] == [(first, "replaying", b"{}")]
        acts.finish_replay(conn, [first, second], NOW_US + 1)
        states = {row.id: (row.state, row.size) for row in quarantine.listing(conn, customer.id)}
    assert states == {first: ("replayed", 2), second: ("discarded", 0)}

"""What is old enough is forgotten, nothing else is, and the books know of it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, Table, func, select

from db import tables
from db.accounting import books, coverage
from db.clock import now_us
from db.customers import rows as customers
from db.customers.rows import Customer
from db.engine import begin, read
from db.ledger import deposits, dispatch, windows
from db.quarantine import acts, rows as quarantine
from db.results import of_customer, prepare, write_events, write_interactions, write_rollups
from db.retention import partitions
from db.retention.forgetting import delete_results
from db.retention.pruning import prune
from db.settings import DatabaseSettings
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
from tests.integration.result_tables import Row, an_event, events_table, interactions_table, rollups_table

DAY_US = 86_400_000_000
SETTINGS = DatabaseSettings()


def accepted(engine: Engine, customer: Customer, epoch: int, offset: int, at_us: int) -> int:
    window = new_window(offset, offset, created_at=at_us, last_accepted_at=at_us)
    batches = [new_batch(offset, accepted_at=at_us)]
    return record(engine, customer, epoch, offset, offset, window=window, batches=batches)


def trace(number: int, at_us: int, events: int) -> Row:
    times = {"started_at": at_us, "ended_at": at_us}
    return {"trace_id": number.to_bytes(16, "big"), "events": events, "errors": 0, **times}


def minute(at_us: int, count: int) -> Row:
    key = {"minute": at_us // 60_000_000 * 60_000_000, "service": "a", "operation": "b", "status": "ok"}
    durations = {"duration_sum": count, "duration_min": 1, "duration_max": 1}
    return {**key, "bucket": 0, "count": count, **durations}


def write(engine: Engine, customer: Customer, window_id: int, times_us: list[int], each: int) -> None:
    """A trace, a rollup and an event at each time; trace and rollup stand for `each` events."""
    events = events_table(
        [an_event(started_at=at, window_id=window_id, position=i) for i, at in enumerate(times_us)]
    )
    rollups = rollups_table([minute(at, each) for at in times_us])
    prepare(engine, [events], [rollups])
    with begin(engine) as conn:
        traces = [trace(window_id * 1000 + i, at, each) for i, at in enumerate(times_us)]
        write_interactions(conn, of_customer(customer.id, interactions_table(traces)))
        write_rollups(conn, of_customer(customer.id, rollups))
        write_events(conn, of_customer(customer.id, events))


def rows(engine: Engine, table: Table, customer: Customer) -> int:
    with read(engine) as conn:
        query = select(func.count()).select_from(table).where(table.c.customer_id == customer.id)
        return int(conn.execute(query).scalar_one())


def test_a_batch_id_is_remembered_for_seven_days_of_the_streams_time(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    for offset, days in enumerate((0, 1, 2, 8)):
        accepted(engine, customer, epoch, offset, NOW_US + days * DAY_US)
    long_after = NOW_US + 100 * DAY_US  # the customer was paused: the clock went on, its stream did not
    assert prune(engine, SETTINGS, long_after, most_rows=1).batches == 1
    with read(engine) as conn:
        assert dispatch.known(conn, {customer.id: [f"batch-{n}" for n in range(4)]})[customer.id].keys() == {
            "batch-1",
            "batch-2",
            "batch-3",
        }


def test_a_batch_accepted_in_the_future_does_not_make_others_forgotten(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    accepted(engine, customer, epoch, 0, NOW_US)
    accepted(engine, customer, epoch, 1, NOW_US + 400 * DAY_US)
    assert prune(engine, SETTINGS, NOW_US + DAY_US).batches == 0


def test_old_windows_go_and_open_ones_stay(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    done = [accepted(engine, customer, epoch, offset, NOW_US) for offset in range(3)]
    still_open = accepted(engine, customer, epoch, 3, NOW_US)
    deposit(engine, customer, 0, [deposited(one, kept=4) for one in done])
    assert prune(engine, SETTINGS, NOW_US + 29 * DAY_US).windows == 0
    # One of them stays, to tell the stream by (`test_reconciling`).
    assert prune(engine, SETTINGS, NOW_US + 31 * DAY_US, most_rows=1).windows == 2
    with read(engine) as conn:
        ledger = books.ledger(conn, customer.id)
        assert [one.id for one in windows.open(conn, customer.id)] == [still_open]
    assert (ledger.kept, ledger.windows_deposited, ledger.differences()) == (12, 3, [])


def test_rounds_of_a_few_customers_come_to_everybody(engine: Engine, slug: str) -> None:
    for name in ("a", "b", "c"):
        customer = add_customer(engine, f"{slug}-{name}")
        epoch = claim(engine, customer)
        for offset in (0, 1):
            accepted(engine, customer, epoch, offset, NOW_US + offset * 8 * DAY_US)
    rounds, reached = [], slug
    for _ in range(2):
        pruned = prune(engine, SETTINGS, NOW_US + 9 * DAY_US, after=reached, most_customers=2)
        rounds.append(pruned.batches)
        reached = pruned.reached
    assert rounds == [2, 1]
    assert not reached, "begin anew"


def test_window_ids_are_not_given_again_after_pruning(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    first, newest = (accepted(engine, customer, epoch, offset, NOW_US) for offset in (0, 1))
    deposit(engine, customer, 0, [deposited(one) for one in (first, newest)])
    # The newest stays: it tells the stream from another one of its name.
    assert prune(engine, SETTINGS, NOW_US + 31 * DAY_US).windows == 1
    with read(engine) as conn:
        assert windows.get(conn, newest) is not None
    assert accepted(engine, customer, epoch, 2, NOW_US) > newest


def test_a_replays_id_is_remembered_while_its_row_may_be_sent_again(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    names = {"under way": "replay-1", "sent twice": "replay-2", "sent once": "replay-3"}
    for offset, name in enumerate(names.values()):
        batches = [new_batch(offset, batch_id=name, accepted_at=NOW_US)]
        record(engine, customer, epoch, offset, offset, batches=batches)
    with begin(engine) as conn:
        kept = [new_quarantine(90 + place, created_at=NOW_US) for place in range(3)]
        quarantine.add(conn, customer.id, kept, daily_bytes=DAILY_BYTES)
        ids = [row.id for row in reversed(quarantine.listing(conn, customer.id))]
        under_way, twice, once = ids
        acts.begin_replay(conn, dict(zip(ids, names.values(), strict=True)), NOW_US)
        acts.finish_replay(conn, [once], NOW_US)
        acts.finish_replay(conn, [twice], NOW_US + 5 * DAY_US)
    for offset, (days, expected) in enumerate([(8, {"replay-1", "replay-2"}), (13, {"replay-1"})], 3):
        accepted(engine, customer, epoch, offset, NOW_US + days * DAY_US)
        prune(engine, SETTINGS, NOW_US + 20 * DAY_US)
        with read(engine) as conn:
            assert dispatch.known(conn, {customer.id: list(names.values())})[customer.id].keys() == expected
    with begin(engine) as conn:
        acts.finish_replay(conn, [under_way], NOW_US + 13 * DAY_US)
    accepted(engine, customer, epoch, 5, NOW_US + 21 * DAY_US)
    prune(engine, SETTINGS, NOW_US + 21 * DAY_US)
    with read(engine) as conn:
        assert dispatch.known(conn, {customer.id: list(names.values())})[customer.id] == {}


def test_quarantined_rows_go_after_their_time_and_the_books_know(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    whole = [new_quarantine(offset, created_at=NOW_US + offset * 40 * DAY_US) for offset in range(3)]
    window = new_window(0, 3, skipped=[0, 1, 2], batches=1)
    batches = [new_batch(3, accepted_at=NOW_US + 500 * DAY_US)]
    done = record(engine, customer, epoch, 0, 3, window=window, batches=batches, reused=whole)
    with begin(engine) as conn:
        events = [new_quarantine(3, row=row, window_id=done, created_at=NOW_US) for row in range(4)]
        quarantine.add(conn, customer.id, events, daily_bytes=DAILY_BYTES)
        newest = quarantine.listing(conn, customer.id)[0].id
        acts.begin_replay(conn, {newest: "replay-1"}, NOW_US)
        acts.finish_replay(conn, [newest], NOW_US + 50 * DAY_US)
        note = acts.Note(act="replay", who="ann", why="", noted_at=NOW_US)
        acts.note(conn, customer.id, [newest, newest - 1], note)
    deposit(engine, customer, 0, [deposited(done, rejected=4)])
    # The window's sums go with what is folded; the rows of quarantine by the clock.
    for days, gone, left in (
        (89, 0, (3, 4, 0)),
        (91, 4, (3, 4, 1)),
        (131, 1, (3, 4, 2)),
        (171, 2, (3, 4, 3)),
    ):
        assert prune(engine, SETTINGS, NOW_US + days * DAY_US, most_rows=2).quarantined == gone
        with read(engine) as conn:
            found, ledger = books.results(conn, customer.id), books.ledger(conn, customer.id)
            assert (found.quarantined.total, found.rejected.total, found.quarantined.pruned) == left
            assert (ledger.quarantined, ledger.rejected, ledger.differences()) == (3, 4, [])
            assert coverage.quarantine_pruned_below(conn, customer.id) == left[2]
    assert rows(engine, tables.quarantine, customer) == 0
    assert rows(engine, tables.quarantine_notes, customer) == 0


def test_a_quarantined_row_stays_as_long_as_its_batch_id_is_remembered(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = claim(engine, customer)
    window = new_window(0, 1, skipped=[0], batches=1)
    batches = [new_batch(1, accepted_at=NOW_US)]
    kept = [new_quarantine(0, created_at=NOW_US)]
    record(engine, customer, epoch, 0, 1, window=window, batches=batches, reused=kept)
    long_after = NOW_US + 500 * DAY_US  # the customer was paused
    assert prune(engine, SETTINGS, long_after).quarantined == 0
    accepted(engine, customer, epoch, 2, long_after)
    assert prune(engine, SETTINGS, long_after).quarantined == 1


def test_results_past_the_retention_go_and_the_books_know(engine: Engine, slug: str) -> None:
    now = now_us(engine)
    short, long = add_customer(engine, f"{slug}-a"), add_customer(engine, f"{slug}-b")
    with begin(engine) as conn:
        customers.set_retention(conn, short.id, 10)
        customers.set_retention(conn, long.id, 100)
    for customer in (short, long):
        write(
            engine, customer, customer.id, [now - days * DAY_US for days in (0, 5, 20, 20, 50, 200)], each=3
        )
    prune(engine, SETTINGS, now, most_rows=2)
    for table in (tables.interactions, tables.events):
        assert (rows(engine, table, short), rows(engine, table, long)) == (2, 5), table.name
    with read(engine) as conn:
        for customer in (short, long):
            found = books.results(conn, customer.id)
            assert (found.interactions, found.rollups) == (18, 18)


def test_pruning_results_waits_for_a_deposit_that_is_under_way(postgresql_engine: Engine, slug: str) -> None:
    engine, now = postgresql_engine, now_us(postgresql_engine)
    customer = add_customer(engine, slug)

    def delete() -> int:
        with begin(engine) as conn:
            cutoff = datetime.fromtimestamp(now / 1e6, UTC)
            return delete_results(conn, tables.rollups, customer.id, cutoff, 10)

    with ThreadPoolExecutor(1) as thread:
        with begin(engine) as conn:
            deposits.advance(conn, customer.id, 0, 1)
            deleting = thread.submit(delete)
            with pytest.raises(TimeoutError):
                deleting.result(0.3)
            write_rollups(conn, of_customer(customer.id, rollups_table([minute(now - DAY_US, 7)])))
        assert deleting.result(30) == 1
    with read(engine) as conn:
        assert books.results(conn, customer.id).rollups == 7


def test_a_partition_past_everybodys_retention_is_dropped(postgresql_engine: Engine, slug: str) -> None:
    engine, now = postgresql_engine, now_us(postgresql_engine)
    customer = add_customer(engine, slug)
    old = [now - days * DAY_US for days in (0, 100, 100)]
    write(engine, customer, 1, old, each=2)
    with begin(engine) as conn:
        customers.set_retention(conn, customer.id, 30)
    assert prune(engine, SETTINGS, now).partitions == 2
    with read(engine) as conn:
        left = partitions.made(conn)
        assert {one.table for one in left} == set(partitions.TIMES)
        assert min(one.after for one in left) > datetime.fromtimestamp(now / 1e6, UTC).date()
        found = books.results(conn, customer.id)
    assert (found.interactions, found.rollups) == (6, 6)
    assert rows(engine, tables.events, customer) == 1


def test_late_rows_of_a_dropped_day_are_taken_and_pruned_again(postgresql_engine: Engine, slug: str) -> None:
    engine, now = postgresql_engine, now_us(postgresql_engine)
    customer = add_customer(engine, slug)
    with begin(engine) as conn:
        customers.set_retention(conn, customer.id, 30)
    write(engine, customer, 1, [now - timedelta(days=100) // timedelta(microseconds=1)], each=2)
    with read(engine) as conn:
        assert partitions.made(conn) == []
    assert rows(engine, tables.events, customer) == 1
    assert prune(engine, SETTINGS, now).results == 3
    with read(engine) as conn:
        assert books.results(conn, customer.id).rollups == 2


@pytest.fixture
def postgresql_engine(postgresql_url: str) -> Engine:
    from db.engine import connect

    return connect(DatabaseSettings(url=postgresql_url), pooled=False)

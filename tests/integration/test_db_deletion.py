"""Deleting a customer, in the database: the fence, the slices, and what is left."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, insert, select

from db.customers import deletion, keys, notes, quota_use, rows as customers
from db.customers.deletion import SLICED, Deletion
from db.customers.rows import DELETING, Customer
from db.engine import begin, read
from db.errors import LostLease, LostRace, NoCustomer, Refusal
from db.ledger import deposits, dispatch, windows
from db.ledger.windows import Part
from db.retention.folding import fold
from db.retention.pruning import prune
from db.settings import DatabaseSettings
from db.tables import metadata, usage
from tests.integration import ledger_rows
from tests.integration.ledger_rows import NOW_US, add_customer

KEPT_TABLES = {"customer_notes"}


def begun(engine: Engine, customer: Customer) -> Deletion:
    with begin(engine) as conn:
        deletion.begin(conn, customer, who="anna", why="gone")
    with read(engine) as conn:
        found = deletion.latest(conn, customer.slug)
    assert found is not None
    return found


def rows_of(engine: Engine, customer_id: int) -> dict[str, int]:
    """How many rows of the customer there are, by table, where there are any."""
    found = {}
    with read(engine) as conn:
        for table in metadata.sorted_tables:
            if "customer_id" in table.c:
                count = len(conn.execute(select(table).where(table.c.customer_id == customer_id)).all())
                if count:
                    found[table.name] = count
    return found


def test_the_slices_are_of_all_tables_that_have_rows_of_customers() -> None:
    last = {"dispatch", "deposits", "folded"}
    sliced = {table.name for table in SLICED}
    assert sliced | last | KEPT_TABLES == {
        table.name for table in metadata.sorted_tables if "customer_id" in table.c
    }


def test_after_the_fence_nothing_under_way_is_written(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = ledger_rows.claim(engine, customer)
    window_id = ledger_rows.record(engine, customer, epoch, 0, 1)
    with begin(engine) as conn:
        owed = deposits.state(conn, customer.id, window_id)
    begun(engine, customer)

    with pytest.raises(LostLease):
        ledger_rows.record(engine, customer, epoch, 2, 2)
    with pytest.raises(LostRace), begin(engine) as conn:
        deposits.advance(conn, customer.id, owed.next_offset, owed.next_offset + 1)
    parts = [Part(first_offset=at, last_offset=at, skipped=(), batches=1, bytes=1) for at in (0, 1)]
    with pytest.raises(LostRace), begin(engine) as conn:
        windows.split(conn, window_id, parts)
    with begin(engine) as conn:
        quota_use.write(conn, "receiver", 20_000, {customer.id: 5})
        assert quota_use.total(conn, customer.id, 20_000) == 0
        assert windows.work(conn, window_id) is None
        assert deposits.state(conn, customer.id, window_id).halted
        assert customers.served(conn) == []
        assert customers.present(conn) == []
        assert fold(conn, customer.id) >= 0


def test_a_window_of_a_customer_that_is_being_deleted_is_never_split(engine: Engine, slug: str) -> None:
    """Not even one that the fence did not see: its parts would be left over."""
    customer = add_customer(engine, slug)
    window_id = ledger_rows.record(engine, customer, ledger_rows.claim(engine, customer), 0, 1)
    with begin(engine) as conn:
        conn.execute(metadata.tables["customers"].update().values(state=DELETING))
    parts = [Part(first_offset=at, last_offset=at, skipped=(), batches=1, bytes=1) for at in (0, 1)]
    with pytest.raises(LostRace), begin(engine) as conn:
        windows.split(conn, window_id, parts)


@pytest.mark.parametrize(
    "act",
    [
        lambda conn, of: customers.set_state(conn, of.id, "active"),
        lambda conn, of: customers.set_limits(conn, of.id, {"daily_bytes": 5}),
        lambda conn, of: customers.set_route(conn, of.id, "decode", "fast"),
        lambda conn, of: keys.rotate(conn, of.id),
        lambda conn, of: keys.revoke(conn, of.id, "0" * keys.ID_DIGITS),
    ],
)
def test_a_customer_that_is_being_deleted_is_not_changed(
    engine: Engine, slug: str, act: Callable[[Connection, Customer], Any]
) -> None:
    customer = add_customer(engine, slug)
    begun(engine, customer)
    with pytest.raises(Refusal, match="being deleted"), begin(engine) as conn:
        act(conn, customer)


def test_rows_go_in_slices_and_are_counted_and_the_others_stay(engine: Engine, slug: str) -> None:
    gone, stays = add_customer(engine, slug), add_customer(engine, f"{slug}-stays")
    for customer in (gone, stays):
        epoch = ledger_rows.claim(engine, customer)
        reused = [ledger_rows.new_quarantine(3)]
        window = ledger_rows.new_window(0, 3, skipped=[3], batches=3)
        batches = [ledger_rows.new_batch(at) for at in range(3)]
        first = ledger_rows.record(
            engine, customer, epoch, 0, 3, window=window, batches=batches, reused=reused
        )
        ledger_rows.deposit(engine, customer, 0, [ledger_rows.deposited(first, kept=3)])
        ledger_rows.record(engine, customer, epoch, 4, 4)
        with begin(engine) as conn:
            keys.issue(conn, customer.id)
    before = rows_of(engine, stays.id)
    work = begun(engine, gone)

    sizes = []
    for table in SLICED:
        while True:
            with begin(engine) as conn:
                sizes.append(deletion.delete_slice(conn, work, table, 2))
            if not sizes[-1]:
                break
    assert max(sizes) == 2
    with begin(engine) as conn:
        assert deletion.finish(conn, work)
    with begin(engine) as conn:
        assert deletion.finish(conn, work), "once more changes nothing"

    assert set(rows_of(engine, gone.id)) == KEPT_TABLES
    assert rows_of(engine, stays.id) == before
    with read(engine) as conn:
        over = deletion.latest(conn, slug)
        assert customers.get(conn, slug) is None
    assert over is not None
    assert over.note.ended_at is not None
    assert (over.note.who, over.note.why) == ("anna", "gone")
    assert over.rows["windows"] == 2, "the open one, too"
    assert (over.rows["batches"], over.rows["quarantine"], over.rows["customer_keys"]) == (4, 1, 1)


def test_the_end_waits_for_rows_that_came_in_between(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    work = begun(engine, customer)
    with begin(engine) as conn:
        assert not deletion.finish(conn, work), "its pipeline is there"
    with begin(engine) as conn:
        assert customers.get(conn, slug) is not None


def test_the_end_sees_what_is_being_written_at_that_moment(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    work = begun(engine, customer)
    emptied(engine, work)
    with ThreadPoolExecutor(1) as threads:
        with begin(engine) as conn:
            # As a process of an earlier release could, which took the customer after the fence.
            assert dispatch.claim(conn, customer.id, "old") is not None
            conn.execute(insert(usage).values(customer_id=customer.id, day=20_000, receiver="old", bytes=1))
            end = threads.submit(finished, engine, work)
            wait([end], 1.0)
        assert not end.result(60)
    assert rows_of(engine, customer.id)["usage"] == 1


def test_an_old_doorbell_of_a_deleted_customer_finds_nothing_of_the_new_one(
    engine: Engine, slug: str
) -> None:
    old = add_customer(engine, slug)
    window_id = ledger_rows.record(engine, old, ledger_rows.claim(engine, old), 0, 0)
    work = begun(engine, old)
    deleted(engine, work)

    new = add_customer(engine, slug)
    assert new.id != old.id
    with pytest.raises(NoCustomer), begin(engine) as conn:
        deposits.state(conn, old.id, window_id)
    fresh = ledger_rows.record(engine, new, ledger_rows.claim(engine, new), 0, 0)
    assert fresh != window_id
    with begin(engine) as conn:
        assert windows.work(conn, window_id) is None
        assert deposits.undeposited(conn, [new.id], [window_id]) == {}
        assert dispatch.position(conn, new.id).generation == 0
        assert [note.act for note in notes.history(conn, slug)] == ["delete"]
        assert notes.last(conn, new) is None
        latest = deletion.latest(conn, slug)
    assert latest is not None
    assert latest.customer_id == old.id


def test_pruning_goes_on_while_a_customer_goes(engine: Engine, slug: str, database_url: str) -> None:
    customer, stays = add_customer(engine, slug), add_customer(engine, f"{slug}-stays")
    ledger_rows.record(engine, stays, ledger_rows.claim(engine, stays), 0, 0)
    work = begun(engine, customer)
    settings = DatabaseSettings(url=database_url)
    assert prune(engine, settings, NOW_US).failed == 0
    deleted(engine, work)
    with begin(engine) as conn:  # a round that listed it before
        assert fold(conn, customer.id) == 0
    assert prune(engine, settings, NOW_US).failed == 0


def test_two_deletions_at_once_count_each_row_once(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    epoch = ledger_rows.claim(engine, customer)
    batches = [ledger_rows.new_batch(at) for at in range(40)]
    window = ledger_rows.new_window(0, 39)
    ledger_rows.record(engine, customer, epoch, 0, 39, window=window, batches=batches)
    work = begun(engine, customer)

    def both() -> Any:
        deleted(engine, work)

    outcomes = ledger_rows.at_once([both, both])
    assert not [one for one in outcomes if isinstance(one, Exception)]
    with read(engine) as conn:
        over = deletion.latest(conn, slug)
    assert over is not None
    assert over.rows["batches"] == 40


def deleted(engine: Engine, work: Deletion) -> None:
    """All slices and the end."""
    emptied(engine, work)
    assert finished(engine, work)


def emptied(engine: Engine, work: Deletion) -> None:
    for table in SLICED:
        some = 1
        while some:
            with begin(engine) as conn:
                some = deletion.delete_slice(conn, work, table, 7)


def finished(engine: Engine, work: Deletion) -> bool:
    with begin(engine) as conn:
        return deletion.finish(conn, work)

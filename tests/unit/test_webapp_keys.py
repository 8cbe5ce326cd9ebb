"""The key cache: bounds, one look-up at a time, and what a request waits for."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from db.customers.keys import digest
from db.customers.rows import Customer
from tests.unit.key_table import KeyTable, Make, caches, customer, key
from webapp.errors import ReceiverUnavailable
from webapp.receiving.keys import SECRET_FORM, KeyCache


@pytest.fixture
def table() -> KeyTable:
    return KeyTable()


@pytest.fixture
def make(table: KeyTable) -> Iterator[Make]:
    with caches(table) as cache:
        yield cache


def test_a_key_is_looked_up_once_while_its_answer_is_fresh(table: KeyTable, make: Make) -> None:
    cache, mine = make(), table.add()
    assert [cache.owner(mine) for _ in range(10)] == [customer("acme")] * 10
    assert len(table.asked) == 1


def test_crowds_with_one_new_key_cause_one_look_up(table: KeyTable, make: Make) -> None:
    cache, mine = make(), table.add()
    table.gate.clear()
    with ThreadPoolExecutor(16) as crowd:
        found = [crowd.submit(cache.owner, mine) for _ in range(16)]
        while not table.asked:
            time.sleep(0.01)
        table.gate.set()
        assert {one.result().slug for one in found} == {"acme"}  # type: ignore[union-attr] # None would fail too
    assert len(table.asked) == 1


def test_an_unknown_key_is_remembered_as_such(table: KeyTable, make: Make) -> None:
    cache, nobodys = make(), key()
    assert [cache.owner(nobodys) for _ in range(5)] == [None] * 5
    assert len(table.asked) == 1


@pytest.mark.parametrize(
    "text",
    ["", "x", "sl_acme", "sl_acme_short", "sl_ACME_" + "a" * 43, "sl_acme_" + "a" * 43 + "=", "\u00e9"],
)
def test_what_is_no_key_by_its_form_is_never_looked_up(table: KeyTable, make: Make, text: str) -> None:
    assert make().owner(text) is None
    assert table.asked == []


def test_a_flood_of_invented_keys_drives_no_known_key_out(table: KeyTable, make: Make) -> None:
    cache, mine = make(known=2, unknown=3), table.add()
    cache.owner(mine)
    for _ in range(50):
        assert cache.owner(key()) is None
    before = len(table.asked)
    assert cache.owner(mine) == customer("acme")
    assert len(table.asked) == before
    assert len(cache._unknown) <= 3


def test_known_keys_are_bounded_and_the_least_recently_refreshed_goes(table: KeyTable, make: Make) -> None:
    cache, mine = make(known=2), [table.add(f"c{number}") for number in range(3)]
    for one in mine:
        cache.owner(one)
    before = len(table.asked)
    cache.owner(mine[2])
    assert len(table.asked) == before
    cache.owner(mine[0])
    assert len(table.asked) == before + 1


def test_a_known_key_outlasts_the_database(table: KeyTable, make: Make) -> None:
    cache, mine = make(fresh_s=0.05), table.add()
    cache.owner(mine)
    table.away = True
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        assert cache.owner(mine) == customer("acme")


def test_a_revoked_key_stops_working_when_its_answer_is_no_longer_fresh(table: KeyTable, make: Make) -> None:
    cache, mine = make(fresh_s=0.05), table.add()
    assert cache.owner(mine)
    table.owners.clear()
    end = time.monotonic() + 30
    while cache.owner(mine) is not None:
        assert time.monotonic() < end
    assert cache.owner(mine) is None


def test_a_new_key_cannot_be_judged_while_the_database_is_away(table: KeyTable, make: Make) -> None:
    cache, mine = make(), table.add()
    table.away = True
    with pytest.raises(ReceiverUnavailable):
        cache.owner(mine)
    table.away = False
    end = time.monotonic() + 30
    while time.monotonic() < end:
        try:
            assert cache.owner(mine) == customer("acme")
        except ReceiverUnavailable:
            time.sleep(0.01)
        else:
            return
    raise AssertionError("the database's return went unnoticed")


def test_a_refused_key_is_not_refused_again_from_memory_while_the_database_is_away(
    table: KeyTable, make: Make
) -> None:
    cache, mine = make(fresh_s=0.02), key()
    assert cache.owner(mine) is None
    table.away = True
    time.sleep(0.05)
    with pytest.raises(ReceiverUnavailable):
        cache.owner(mine)


def test_a_hanging_database_holds_up_no_known_key_and_only_one_crowd(table: KeyTable, make: Make) -> None:
    cache, mine = make(fresh_s=0.05, wait_s=0.2), table.add()
    cache.owner(mine)
    table.gate.clear()
    with ThreadPoolExecutor(8) as crowd:
        begun = time.monotonic()
        strangers = [crowd.submit(cache.owner, key()) for _ in range(8)]
        for stranger in strangers:
            with pytest.raises(ReceiverUnavailable):
                stranger.result()
        assert cache.owner(mine) == customer("acme")
        assert time.monotonic() - begun < 5
    begun = time.monotonic()
    for _ in range(50):
        with pytest.raises(ReceiverUnavailable):
            cache.owner(key())
    assert time.monotonic() - begun < 5


def test_a_crowd_with_new_keys_is_served_as_soon_as_they_are_looked_up(table: KeyTable, make: Make) -> None:
    cache, keys = make(known=200), [table.add(f"c{number}") for number in range(100)]
    with ThreadPoolExecutor(64) as crowd:
        assert all(crowd.map(cache.owner, keys))


def test_a_key_of_which_not_all_is_known_is_looked_up_at_once_unless_the_database_is_away(
    table: KeyTable,
) -> None:
    current = True
    cache = KeyCache(
        table.find, form=SECRET_FORM, fresh_s=60, wait_s=5, known=1, unknown=1, current=lambda _: current
    )
    new = table.add()
    assert cache.owner(new) is not None
    assert cache.awaited(new) is None
    current = False
    lookup = cache.awaited(new)
    assert lookup is not None
    assert lookup.result(30) is not None
    assert cache.owner(new) is not None
    assert len(table.asked) == 3
    table.away = True
    assert cache.owner(new) is not None
    cache.close()


def test_a_failing_look_up_is_no_refusal(table: KeyTable, make: Make) -> None:
    def broken(_digests: Sequence[bytes]) -> dict[bytes, Customer]:
        raise RuntimeError("bug")

    cache = KeyCache(broken, form=SECRET_FORM, fresh_s=1, wait_s=1, known=1, unknown=1)
    with pytest.raises(RuntimeError):
        cache.owner(key())
    cache.close()


def test_a_loop_is_told_what_to_wait_for_and_waits_for_nothing_else(table: KeyTable, make: Make) -> None:
    cache, new = make(), table.add()
    table.gate.clear()
    lookup = cache.awaited(new)
    assert lookup is not None
    assert cache.awaited(new) is lookup
    table.gate.set()
    assert lookup.result(30) is not None
    assert cache.awaited(new) is None
    assert cache.owner(new, waited=True) is not None
    assert cache.awaited("no key") is None
    assert table.asked == [digest(new)]


def test_who_has_waited_is_answered_at_once_by_what_is_known(table: KeyTable, make: Make) -> None:
    cache, known, unknown = make(fresh_s=0.01, wait_s=60), table.add(), key()
    assert cache.owner(known) is not None
    assert cache.owner(unknown) is None
    table.gate.clear()
    time.sleep(0.02)
    assert cache.awaited(known) is not None
    begun = time.monotonic()
    assert cache.owner(known, waited=True) is not None
    assert cache.owner(unknown, waited=True) is None
    with pytest.raises(ReceiverUnavailable):
        cache.owner(key(), waited=True)
    assert time.monotonic() - begun < 30
    # None of these was waited for, so the next one is.
    assert cache.awaited(key()) is not None


def test_one_crowd_waits_for_a_database_that_hangs_and_the_next_does_not(table: KeyTable, make: Make) -> None:
    cache, mine = make(wait_s=0.05), key()
    table.gate.clear()
    assert cache.awaited(mine) is not None
    time.sleep(0.05)
    with pytest.raises(ReceiverUnavailable):
        cache.owner(mine, waited=True)
    assert cache.awaited(key()) is None
    table.gate.set()
    until = time.monotonic() + 30
    while cache.awaited(key()) is None:
        assert time.monotonic() < until
        time.sleep(0.01)


def test_once_it_is_closed_no_new_key_can_be_judged(table: KeyTable, make: Make) -> None:
    """As while a worker stops that could not accept a batch yet, and still finds out when it can."""
    cache = make()
    cache.close()
    assert cache.awaited(key()) is None
    assert not cache.usable()
    with pytest.raises(ReceiverUnavailable):
        cache.owner(key())

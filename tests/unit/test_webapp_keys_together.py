"""The key cache: which keys are looked up together, and that none of them suffers from the others."""

import time
from collections.abc import Iterator

import pytest

from db.customers.keys import digest
from db.errors import DatabaseUnavailable
from tests.unit.key_table import KeyTable, Make, caches, key, wait_for
from webapp.receiving.key_lookups import MOST_AT_ONCE
from webapp.receiving.keys import MOST_REFRESHED, REFRESH_AHEAD


@pytest.fixture
def table() -> KeyTable:
    return KeyTable()


@pytest.fixture
def make(table: KeyTable) -> Iterator[Make]:
    with caches(table) as cache:
        yield cache


def test_known_keys_that_wait_are_looked_up_together_and_the_surplus_keeps_its_answers(
    table: KeyTable, make: Make
) -> None:
    cache = make(fresh_s=1e-6, known=2_000)
    keys = [table.add(f"c{number}") for number in range(MOST_REFRESHED + 10)]
    assert all(map(cache.owner, keys))
    table.queries.clear()
    table.gate.clear()
    assert cache.awaited(keys[0]) is not None
    wait_for(lambda: len(table.queries) == 1)
    lookups = [cache.awaited(one) for one in keys]
    surplus = keys[MOST_REFRESHED:]
    assert lookups[MOST_REFRESHED:] == [None] * len(surplus)
    assert all(cache.owner(one, waited=True) for one in surplus)
    table.gate.set()
    assert all(one.result(30) for one in lookups if one is not None)
    assert [len(digests) for digests in table.queries] == [1, MOST_AT_ONCE, MOST_AT_ONCE - 1]


def test_new_keys_that_wait_are_looked_up_together(table: KeyTable, make: Make) -> None:
    cache, new, nobodys = make(), [table.add(f"c{number}") for number in range(5)], key()
    table.gate.clear()
    first = cache.awaited(new[0])
    wait_for(lambda: len(table.queries) == 1)
    lookups = [first, *map(cache.awaited, new[1:])]
    nobody = cache.awaited(nobodys)
    table.gate.set()
    assert all(one is not None and one.result(30) for one in lookups)
    assert nobody is not None
    assert nobody.result(30) is None
    assert [len(digests) for digests in table.queries] == [1, 5]


def test_keys_in_use_are_looked_up_again_together_and_others_are_not(table: KeyTable, make: Make) -> None:
    cache, keys = make(fresh_s=1.0, known=100), [table.add(f"c{number}") for number in range(30)]
    assert all(map(cache.owner, keys))
    table.queries.clear()
    time.sleep(REFRESH_AHEAD)
    for one in keys[:20]:
        assert cache.owner(one) is not None
        time.sleep(0.005)
    wait_for(lambda: sum(map(len, table.queries)) == 20)
    assert {one for digests in table.queries for one in digests} == {digest(one) for one in keys[:20]}
    assert len(table.queries) <= 5


def test_a_request_that_waits_is_not_kept_waiting_for_other_keys(table: KeyTable, make: Make) -> None:
    cache, mine = make(fresh_s=0.01, wait_s=30), table.add()
    cache._known_lookups._gather_s = 60
    assert cache.owner(mine) is not None
    table.owners.clear()
    time.sleep(0.02)
    assert cache.owner(mine) is None


def test_all_answers_stand_when_looking_them_up_fails(table: KeyTable, make: Make) -> None:
    cache, keys = make(fresh_s=1e-6), [table.add(f"c{number}") for number in range(5)]
    assert all(map(cache.owner, keys))
    table.queries.clear()
    table.gate.clear()
    cache.awaited(keys[0])
    wait_for(lambda: len(table.queries) == 1)
    lookups = [cache.awaited(one) for one in keys[1:]]
    table.away = True
    table.gate.set()
    for lookup in lookups:
        assert lookup is not None
        with pytest.raises(DatabaseUnavailable):
            lookup.result(30)
    assert [len(digests) for digests in table.queries] == [1, 4]
    assert all(cache.owner(one, waited=True) for one in keys)


def test_a_customer_who_cannot_be_looked_up_holds_no_others_up(table: KeyTable, make: Make) -> None:
    cache, keys = make(fresh_s=1e-6), [table.add(f"c{number}") for number in range(5)]
    assert all(map(cache.owner, keys))
    table.gate.clear()
    cache.awaited(keys[0])
    lookups = [cache.awaited(one) for one in keys]
    table.broken.add(digest(keys[2]))
    for one in keys[3:]:
        del table.owners[digest(one)]
    table.gate.set()
    failed = lookups.pop(2)
    assert failed is not None
    with pytest.raises(RuntimeError):
        failed.result(30)
    found = [one is not None and one.result(30) is not None for one in lookups]
    assert found == [True, True, False, False]

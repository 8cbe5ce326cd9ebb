"""Customers, their keys and their pipelines."""

from functools import partial

import pytest
from sqlalchemy import Engine, select

from db import tables
from db.customers import keys, own_retention, pipeline_versions, quota_use, rows as customers
from db.engine import begin, read
from db.errors import BadSlug, Refusal, SlugTaken, TooManyKeys
from db.settings import DatabaseSettings
from tests.integration.ledger_rows import add_customer, at_once


def test_a_new_customer_is_active_without_limits_and_at_offset_0(engine: Engine, slug: str) -> None:
    with begin(engine) as conn:
        made = customers.add(conn, slug)
        assert customers.get(conn, slug) == made
        assert customers.everyone(conn) == [made]
        assert customers.by_id(conn, made.id) == made
    assert (made.state, made.events_per_second, made.bytes_per_second, made.routes) == (
        "active",
        None,
        None,
        {},
    )


@pytest.mark.parametrize("bad", ["", "A", "-a", "a-", "a_b", "a b", "é", "a" * 41, "a\n"])
def test_a_slug_that_a_queue_or_stream_name_could_not_hold_is_refused(engine: Engine, bad: str) -> None:
    with pytest.raises(BadSlug), begin(engine) as conn:
        customers.add(conn, bad)


def test_a_slug_is_taken_once(engine: Engine, slug: str) -> None:
    add_customer(engine, slug)
    with pytest.raises(SlugTaken), begin(engine) as conn:
        customers.add(conn, slug)


def test_state_limits_routes_and_retention_change_one_customer(engine: Engine, slug: str) -> None:
    changed, other = add_customer(engine, f"{slug}-a"), add_customer(engine, f"{slug}-b")
    with begin(engine) as conn:
        customers.set_state(conn, changed.id, "paused")
        customers.set_limits(conn, changed.id, {"events_per_second": 10, "daily_bytes": 7})
        customers.set_limits(conn, changed.id, {"daily_bytes": None, "concurrent_requests": 2})
        customers.set_route(conn, changed.id, "decode", "decoders")
        customers.set_route(conn, changed.id, "deposit", "elsewhere")
        customers.set_route(conn, changed.id, "deposit", None)
        customers.set_retention(conn, changed.id, 30)
        found = customers.get(conn, changed.slug)
        untouched = customers.get(conn, other.slug)
    assert found is not None
    assert untouched is not None
    assert (found.state, found.events_per_second, found.retention_days) == ("paused", 10, 30)
    assert (found.daily_bytes, found.concurrent_requests, found.bytes_per_second) == (None, 2, None)
    assert found.routes == {"decode": "decoders"}
    assert found.updated_at >= changed.updated_at
    assert (untouched.state, untouched.routes) == ("active", {})


def test_who_is_served_is_as_the_database_has_it_and_made_anew_only_when_it_changed(
    engine: Engine, slug: str
) -> None:
    changed, same = (add_customer(engine, f"{slug}-{name}") for name in "ab")
    served = []
    for _ in range(2):
        with begin(engine) as conn:
            served.append(customers.served(conn))
            assert served[-1] == [customers.by_id(conn, one.id) for one in (changed, same)]
            customers.set_limits(conn, changed.id, {"bytes_per_second": 7})
            customers.set_route(conn, changed.id, "decode", f"{slug}-decode")
    assert served[1][1] is served[0][1]
    assert served[1][0] != served[0][0]


def test_batch_ids_are_kept_as_agents_are_told_whatever_was_set_before(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    with begin(engine) as conn:
        own_retention.set_days(conn, customer, DatabaseSettings(remember_days=7), {"ids": 14})
        customer = customers.get(conn, slug) or customer
        raised = DatabaseSettings(remember_days=30)
        assert own_retention.days(customer, DatabaseSettings(remember_days=7))["ids"] == 14
        assert own_retention.days(customer, raised)["ids"] == 30
        assert own_retention.set_days(conn, customer, raised, {"results": 9})["ids"] == 30
        with pytest.raises(Refusal):
            own_retention.set_days(conn, customer, raised, {"ids": 14})


def test_what_the_rules_forbid_is_refused(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    for change in (
        lambda conn: customers.set_state(conn, customer.id, "asleep"),  # type: ignore[arg-type]
        lambda conn: customers.set_state(conn, customer.id + 1, "paused"),
        lambda conn: customers.set_limits(conn, customer.id, {"events_per_second": 0}),
        lambda conn: customers.set_limits(conn, customer.id, {"daily_bytes": 10**15 + 1}),
        lambda conn: customers.set_limits(conn, customer.id, {"patience": 1}),  # type: ignore[dict-item]
        lambda conn: customers.set_retention(conn, customer.id, 0),
        lambda conn: customers.set_route(conn, customer.id, "accept", "queue"),  # type: ignore[arg-type]
        lambda conn: keys.issue(conn, customer.id + 1),
        lambda conn: pipeline_versions.put(conn, customer.id + 1, "{}"),
    ):
        with pytest.raises(Refusal), begin(engine) as conn:
            change(conn)


def test_a_key_finds_its_customer_and_is_not_stored(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    with begin(engine) as conn:
        key = keys.issue(conn, customer.id)
        found = keys.find(conn, keys.digest(key))
        assert keys.find(conn, keys.digest(key + "x")) is None
        stored = conn.execute(select(tables.customer_keys)).one()
    assert key.startswith(f"sl_{slug}_")
    assert len(key) == len(f"sl_{slug}_") + 43
    assert found is not None
    assert found.id == customer.id
    assert key not in repr(tuple(stored))


def test_many_keys_find_their_customers_at_once_but_no_revoked_ones(engine: Engine, slug: str) -> None:
    made = [add_customer(engine, f"{slug}-{number}") for number in range(4)]
    with begin(engine) as conn:
        live = {keys.digest(keys.issue(conn, one.id)): one for one in made for _ in range(2)}
        revoked = next(iter(live))
        keys.revoke(conn, made[0].id, revoked.hex()[: keys.ID_DIGITS])
    with read(engine) as conn:
        found = keys.find_all(conn, [*live, bytes(32)])
        assert keys.find_all(conn, []) == {}
    del live[revoked]
    assert {one: customer.slug for one, customer in found.items()} == {
        one: customer.slug for one, customer in live.items()
    }


def test_what_receivers_accepted_is_read_for_many_customers_at_once(engine: Engine, slug: str) -> None:
    one, two, none = [add_customer(engine, f"{slug}-{number}").id for number in range(3)]
    with begin(engine) as conn:
        quota_use.write(conn, "mine", 100, {one: 1, two: 2})
        quota_use.write(conn, "mine", 101, {one: 4})
        quota_use.write(conn, "another", 100, {one: 8})
        quota_use.write(conn, "a-third", 100, {one: 16})
        written = quota_use.written(conn, [one, two, none], 100, receiver="mine")
        assert [quota_use.total(conn, one, day) for day in (99, 100, 101)] == [0, 25, 4]
    assert written == {one: (1, 24), two: (2, 0)}


def test_two_keys_live_and_no_third_is_issued(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    with begin(engine) as conn:
        live = [keys.issue(conn, customer.id) for _ in range(2)]
    with pytest.raises(TooManyKeys), begin(engine) as conn:
        keys.issue(conn, customer.id)
    with read(engine) as conn:
        assert all(keys.find(conn, keys.digest(key)) for key in live)


def test_rotating_revokes_the_older_of_two_keys(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)
    with begin(engine) as conn:
        made = [keys.rotate(conn, customer.id) for _ in range(4)]
        live = [keys.find(conn, keys.digest(key)) is not None for key in made]
    assert live == [False, False, True, True]


def test_operators_who_issue_at_once_do_not_make_a_third_key(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)

    def issue() -> str:
        with begin(engine) as conn:
            return keys.issue(conn, customer.id)

    outcomes = at_once([issue] * 4)
    assert sum(isinstance(outcome, TooManyKeys) for outcome in outcomes) == 2, outcomes


def test_each_put_is_the_next_version_and_older_ones_stay(engine: Engine, slug: str) -> None:
    customer = add_customer(engine, slug)  # with a first version

    def put(text: str) -> int:
        with begin(engine) as conn:
            return pipeline_versions.put(conn, customer.id, text)

    assert set(at_once([partial(put, "two"), partial(put, "three")])) == {2, 3}
    with read(engine) as conn:
        version, text = pipeline_versions.latest(conn, customer.id)
        changed = customers.by_id(conn, customer.id)
        assert pipeline_versions.get(conn, customer.id, 1) == "{}"
        assert pipeline_versions.get(conn, customer.id, version) == text
    assert version == 3
    assert changed is not None
    assert changed.pipeline_version == 3


def test_a_pipeline_that_was_never_put_is_a_lookup_error(engine: Engine, slug: str) -> None:
    with begin(engine) as conn:
        customer = customers.add(conn, slug)
    with pytest.raises(LookupError), read(engine) as conn:
        pipeline_versions.latest(conn, customer.id)
    with pytest.raises(LookupError), read(engine) as conn:
        pipeline_versions.get(conn, customer.id, 1)

"""What counts for a day between receivers, their processes and the database: nothing is lost or goes back."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Engine

from db.clock import today
from db.customers import public_key_use, public_keys, quota_use
from db.customers.day_use import Written
from db.customers.public_key_use import KEPT_DAYS, KeyUse
from db.customers.public_keys import KeyRules, PublicKey
from db.engine import begin, read
from tests.integration.ledger_rows import add_customer
from webapp.limits.address_counts import AddressCounts
from webapp.limits.admission import Limits
from webapp.limits.customer_meter import CustomerMeter
from webapp.limits.day_sync import DaySync
from webapp.limits.key_meter import KeyMeter
from webapp.limits.meters import Meters
from webapp.limits.public_keys import PublicKeyLimits
from webapp.limits.wishes import NONE
from webapp.metrics import CustomerCounts
from webapp.problems import Problem

LATER_S = (3, 7)


def issued(engine: Engine, slug: str, **rules: int | None) -> PublicKey:
    customer = add_customer(engine, slug)
    with begin(engine) as connection:
        public_keys.issue(connection, customer.id, KeyRules(origins=("*",), **rules))  # type: ignore[arg-type] # numbers only
        [key] = public_keys.live(connection, customer.id)
    return key


def limits(engine: Engine, meters: Meters[KeyMeter], key: PublicKey) -> PublicKeyLimits:
    """As a receiver has them that has just looked the key up."""
    sync = DaySync(engine, meters, public_key_use.written, public_key_use.write)
    found = PublicKeyLimits(meters, AddressCounts(), sync, CustomerCounts(10), later_s=LATER_S)
    with read(engine) as connection:
        found.learn(connection, [key])
    return found


def refusal(found: PublicKeyLimits, key: PublicKey, length: int | None) -> tuple[int, int]:
    """Its status and Retry-After, 0 for none."""
    with pytest.raises(Problem) as raised:
        found.admit(key, length, 1000)
    return raised.value.kind.status, int(raised.value.headers.get("Retry-After", "0"))


def moments(found: tuple[int, int]) -> bool:
    """Whether it was asked to come again soon."""
    least_s, most_s = LATER_S
    return found[0] == 429 and least_s <= found[1] <= most_s


def used(engine: Engine, key: PublicKey, receiver: str) -> KeyUse:
    with read(engine) as connection:
        written = public_key_use.written(connection, [key.id], today(connection), receiver=receiver)
    return written.get(key.id, Written(KeyUse(), KeyUse())).own


def test_what_is_only_held_is_refused_for_moments_and_what_is_used_until_midnight(
    engine: Engine, slug: str
) -> None:
    key, meters = issued(engine, slug, bytes_a_day=100, batches_a_day=3), Meters(KeyMeter, lanes=1)
    found = limits(engine, meters, key)
    held = found.admit(key, None, 1000)
    assert held.size == 100
    assert moments(refusal(found, key, 10))
    found.end(held, None)
    found.end(found.admit(key, 95, 1000), 95)
    # Near the day's end it may be soon.
    left_s = DaySync(engine, meters, public_key_use.written, public_key_use.write).left_s()
    status, wait_s = refusal(found, key, 10)
    assert (status, wait_s >= left_s - 5) == (429, True)
    assert refusal(found, key, 101) == (413, 0)
    # A body whose length was not known is looked at when it is there.
    rest = found.admit(key, None, 1000)
    found.fits(rest, 5)
    for size, expected in ((6, 429), (101, 413)):
        with pytest.raises(Problem) as raised:
            found.fits(rest, size)
        assert raised.value.kind.status == expected
    second = found.admit(key, 0, 1000)
    assert moments(refusal(found, key, 0))
    found.end(rest, None)
    found.end(second, None)
    found.close()
    assert used(engine, key, meters.receiver) == KeyUse(bytes=95, batches=1, refused=6)


def test_a_quota_that_is_only_held_is_refused_for_moments(engine: Engine, slug: str) -> None:
    customer = replace(add_customer(engine, slug), daily_bytes=100)
    meters = Meters(CustomerMeter, lanes=1)
    usage = DaySync(engine, meters, quota_use.written, quota_use.write)
    found = Limits(meters, usage, CustomerCounts(10), receivers=1, later_s=LATER_S)
    assert not found.learned(customer)
    with read(engine) as connection:
        found.learn(connection, [customer])
    assert found.learned(customer)
    held = found.admit(customer, 60, 1000)
    assert held is not None
    assert held.wishes is NONE
    with pytest.raises(Problem) as raised:
        found.admit(customer, 60, 1000)
    assert LATER_S[0] <= int(raised.value.headers["Retry-After"]) <= LATER_S[1]
    found.end(held, 60)
    left_s = usage.left_s()
    with pytest.raises(Problem) as raised:
        found.admit(customer, 60, 1000)
    assert int(raised.value.headers["Retry-After"]) >= left_s - 5
    found.close()
    with read(engine) as connection:
        assert quota_use.total(connection, customer.id, today(connection)) == 60


def test_wishes_do_not_count_what_is_only_held(engine: Engine, slug: str) -> None:
    key = issued(engine, slug, bytes_a_day=1000, batches_a_day=None)
    found = limits(engine, Meters(KeyMeter, lanes=1), key)
    held = found.admit(key, None, 990)
    assert held.wishes.headers() == {}
    found.end(held, 900)
    asked = found.admit(key, None, 990)
    assert asked.wishes.most_bytes == 100
    assert asked.wishes.after_s is None
    found.end(asked, None)
    found.close()


def test_a_forgotten_meter_goes_on_where_it_was(engine: Engine, slug: str) -> None:
    key, meters = issued(engine, slug, batches_a_day=3), Meters(KeyMeter, lanes=1)
    found = limits(engine, meters, key)
    for _ in range(2):
        found.end(found.admit(key, 5, 1000), 5)
    found.close()
    assert used(engine, key, meters.receiver) == KeyUse(10, 2, 0)

    forgotten = Meters(KeyMeter, lanes=1)
    forgotten.receiver = meters.receiver
    sync = DaySync(engine, forgotten, public_key_use.written, public_key_use.write)
    again = PublicKeyLimits(forgotten, AddressCounts(), sync, CustomerCounts(10), later_s=LATER_S)
    assert not again.learned(key)
    # While the database cannot be asked, it counts for itself, and is written as what came on top.
    again.end(again.admit(key, 5, 1000), 5)
    again.close()
    assert used(engine, key, meters.receiver) == KeyUse(15, 3, 0)
    assert again.learned(key)
    assert refusal(again, key, 5)[0] == 429


def test_a_smaller_count_is_not_written_over_a_larger_one(engine: Engine, slug: str) -> None:
    key = issued(engine, slug)
    for use in (KeyUse(10, 2, 1), KeyUse(5, 1, 1)):
        with begin(engine) as connection:
            public_key_use.write(connection, "one", today(connection), {key.id: use})
    assert used(engine, key, "one") == KeyUse(10, 2, 1)


def test_what_an_unknown_error_kept_from_being_written_is_written_later(engine: Engine, slug: str) -> None:
    customer, meters = add_customer(engine, slug), Meters(CustomerMeter, lanes=1)
    errors = [ValueError("of a kind that nobody thought of")]

    def write(*given: Any) -> None:
        if errors:
            raise errors.pop()
        quota_use.write(*given)

    usage = DaySync(engine, meters, quota_use.written, write)
    with meters.open(customer.id, usage.today()) as meter:
        meter.used = 5
    usage.changed(customer.id)
    for expected in (0, 5):
        usage.close()
        with read(engine) as connection:
            assert quota_use.total(connection, customer.id, today(connection)) == expected


def test_many_are_told_some_at_a_time(engine: Engine) -> None:
    meters, told = Meters(CustomerMeter, lanes=1), list[Mapping[int, int]]()
    usage = DaySync(engine, meters, quota_use.written, lambda *given: told.append(given[-1]))
    for meter_id in range(1, 1202):
        with meters.open(meter_id, usage.today()) as meter:
            meter.used = meter_id
        usage.changed(meter_id)
    usage.changed(1_000_000)  # forgotten meanwhile
    usage.close()
    assert max(map(len, told)) <= 500
    assert {one: used for some in told for one, used in some.items()} == {one: one for one in range(1, 1202)}


def test_refusals_of_the_days_that_are_kept_are_counted_and_those_of_revoked_keys(
    engine: Engine, slug: str
) -> None:
    key = issued(engine, slug)
    with begin(engine) as connection:
        day = today(connection)
        for age, refused in ((0, 4), (KEPT_DAYS, 2), (KEPT_DAYS + 1, 1)):
            public_key_use.write(connection, "one", day - age, {key.id: KeyUse(0, 0, refused)})
        public_keys.revoke(connection, key.customer.id, key.key)
    with read(engine) as connection:
        assert public_key_use.refused(connection, key.customer.id) == {key.customer.id: 6}

"""The events of a day that a public key lets in are those that deposits counted."""

from collections.abc import Iterator

import pytest
from sqlalchemy import Engine

import db.bulk
from db.clock import today
from db.customers import public_key_events, public_key_use, public_keys
from db.customers.public_key_events import KeyDay
from db.customers.public_keys import KeyRules, PublicKey
from db.engine import begin, read
from tests.integration.ledger_rows import add_customer
from webapp.limits.address_counts import AddressCounts
from webapp.limits.day_sync import DaySync
from webapp.limits.key_meter import KeyMeter
from webapp.limits.meters import Meters
from webapp.limits.public_keys import KeyAdmission, PublicKeyLimits
from webapp.limits.wishes import NONE, Wishes
from webapp.metrics import CustomerCounts
from webapp.problems import Problem


@pytest.fixture
def limits(engine: Engine) -> Iterator[PublicKeyLimits]:
    meters = Meters(KeyMeter, lanes=1)
    sync = DaySync(engine, meters, public_key_use.written, public_key_use.write)
    limits = PublicKeyLimits(meters, AddressCounts(), sync, CustomerCounts(8), later_s=(1, 2))
    yield limits
    limits.close()


def issued(engine: Engine, slug: str, rules: KeyRules) -> PublicKey:
    customer = add_customer(engine, slug)
    with begin(engine) as connection:
        public_keys.issue(connection, customer.id, rules)
        [key] = public_keys.live(connection, customer.id)
    return key


def test_a_key_lets_nothing_in_when_the_events_of_its_day_were_deposited(
    engine: Engine, slug: str, limits: PublicKeyLimits
) -> None:
    key = issued(engine, slug, KeyRules(apps=("app",), events_a_day=10))

    def asked_when(events: int, *, day: int) -> Wishes:
        """What a batch is answered after so many more events were deposited of the day."""
        with begin(engine) as connection, db.bulk.together(connection):
            public_key_events.add(connection, {KeyDay(key.customer.id, key.id, day): events})
        return answered(engine, limits, key)

    now = today(engine)
    assert asked_when(100, day=now - 1) is NONE
    assert asked_when(7, day=now) is NONE
    near = asked_when(2, day=now)
    assert near.after_s is not None
    assert near.most_bytes is None
    with pytest.raises(Problem) as refused:
        asked_when(1, day=now)
    assert refused.value.kind.slug == "key-used-up"
    assert refused.value.members["limit"] == "events_a_day"
    assert 0 < int(refused.value.headers["Retry-After"]) < 2 * 86_400


def test_a_body_in_chunks_waits_for_midnight_only_when_the_day_is_used_and_not_held(
    engine: Engine, slug: str, limits: PublicKeyLimits
) -> None:
    key = issued(engine, slug, KeyRules(apps=("app",), bytes_a_day=100))

    def refused_of(size: int, taken: KeyAdmission) -> tuple[bool, int]:
        """Whether others hold what is left, as the refusal says, and after how many seconds to come again."""
        with pytest.raises(Problem) as refused:
            limits.fits(taken, size)
        limits.end(taken, None)
        return "under way" in refused.value.detail, int(refused.value.headers["Retry-After"])

    under_way = limits.admit(key, 90, 100)
    assert refused_of(30, limits.admit(key, None, 100)) in [(True, 1), (True, 2)]
    limits.end(under_way, 90)
    held, wait_s = refused_of(30, limits.admit(key, None, 100))
    assert (held, wait_s > 2) == (False, True)


def answered(engine: Engine, limits: PublicKeyLimits, key: PublicKey) -> Wishes:
    with read(engine) as connection:
        limits.learn(connection, [key])
    admission = limits.admit(key, 1, 100)
    limits.end(admission, 1)
    return admission.wishes

"""What a public key lets in: from whom, how often, and how much of a day."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from webapp import public_key_problems as kinds
from webapp.limits.address_counts import MINUTE_S, AddressCounts
from webapp.limits.admission import MIDNIGHT_SPREAD_S
from webapp.limits.key_meters import KeyMeters
from webapp.limits.key_use_sync import KeyUseSync
from webapp.limits.wishes import NONE, Wishes, all_of, of_day
from webapp.metrics import CustomerCounts
from webapp.problems import Problem, later

if TYPE_CHECKING:
    from collections.abc import Collection

    from db.customers.public_keys import KeyRules, PublicKey

ANY = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Requester:
    """Who asks, by its request's head. `origin` and `app` are None when it names none."""

    origin: str | None
    app: str | None
    address: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyAdmission:
    """A batch that a public key let in and that is not answered yet: `size` bytes were counted on `day`."""

    key: "PublicKey"
    size: int
    day: int
    wishes: Wishes = NONE


class PublicKeyLimits:
    """Thread-safe, one per process; the counts are shared by the processes of a receiver.

    Every refusal is counted, as of the key's day and in a metric.
    """

    def __init__(
        self, meters: KeyMeters, addresses: AddressCounts, sync: KeyUseSync, counts: CustomerCounts
    ) -> None:
        self._meters = meters
        self._addresses = addresses
        self._sync = sync
        self._counts = counts

    def check(self, key: "PublicKey", requester: Requester, now_us: int) -> None:
        """Whether the key is good for who asks, and count the request. Raises Problem."""
        try:
            _check(key, requester, now_us)
            most = key.rules.requests_a_minute
            wait_s = 0.0 if most is None else self._addresses.count(key.id, requester.address, most)
            if wait_s:
                raise later(
                    kinds.TOO_MANY_OF_ADDRESS,
                    f"this key lets in {most} requests of an address in a minute",
                    least_s=wait_s,
                    most_s=wait_s + MINUTE_S / 4,
                    members={"kept": False, "limit": "requests_a_minute", "allowed": most},
                )
        except Problem as problem:
            self._refused(key, problem)
            raise

    def admit(self, key: "PublicKey", length: int | None, most: int) -> KeyAdmission:
        """Let a batch in, and count it; its end has to follow.

        A body that came without a length counts as `most` bytes until it was read. Raises Problem (429) when
        the day's bytes or batches are used up.
        """
        size, day = most if length is None else length, self._sync.today()
        rules = key.rules
        with self._meters.open(key.id, day) as meter:
            bytes_then = meter.other_bytes + meter.bytes + size
            batches_then = meter.other_batches + meter.batches + 1
            exceeded = None
            if rules.bytes_a_day is not None and bytes_then > rules.bytes_a_day:
                exceeded = "bytes_a_day"
            elif rules.batches_a_day is not None and batches_then > rules.batches_a_day:
                exceeded = "batches_a_day"
            else:
                meter.bytes += size
                meter.batches += 1
        if exceeded is not None:
            problem = self._used_up(exceeded, getattr(rules, exceeded))
            self._refused(key, problem)
            raise problem
        self._sync.changed(key.id)
        return KeyAdmission(
            key=key, size=size, day=day, wishes=self._wishes(rules, bytes_then, batches_then, size)
        )

    def end(self, admission: KeyAdmission, accepted: int | None) -> None:
        """The batch is answered: so many bytes of it were accepted, None when it was refused after all."""
        if accepted == admission.size:
            return
        day = self._sync.today()
        with self._meters.open(admission.key.id, day) as meter:
            if meter.day == admission.day:
                meter.bytes = max(0, meter.bytes - admission.size + (accepted or 0))
                meter.batches = max(0, meter.batches - (accepted is None))
        self._sync.changed(admission.key.id)

    def learn(self, connection: Connection, keys: "Collection[PublicKey]") -> None:
        """They were looked up: learn what other receivers let in."""
        self._sync.learn(connection, [key.id for key in keys])

    def close(self) -> None:
        """Write what was counted."""
        self._sync.close()

    def _wishes(self, rules: "KeyRules", bytes_now: int, batches_now: int, size: int) -> Wishes:
        """Of each bound of the day that the key is near to."""
        left_s, found = self._sync.left_s(), []
        if rules.bytes_a_day is not None:
            found.append(of_day(bytes_now, rules.bytes_a_day, size, left_s, bytes_=True))
        if rules.batches_a_day is not None:
            found.append(of_day(batches_now, rules.batches_a_day, 1, left_s, bytes_=False))
        return all_of(found)

    def _used_up(self, limit: str, allowed: int) -> Problem:
        wait_s = self._sync.left_s()
        return later(
            kinds.KEY_USED_UP,
            f"{limit} of this key is {allowed}; the batch was not kept",
            least_s=wait_s,
            most_s=wait_s + MIDNIGHT_SPREAD_S,
            members={"kept": False, "limit": limit, "allowed": allowed},
        )

    def _refused(self, key: "PublicKey", problem: Problem) -> None:
        with self._meters.open(key.id, self._sync.today()) as meter:
            meter.refused += 1
        self._sync.changed(key.id)
        self._counts.public_key_refused(key.customer.slug, problem.kind.slug)


def _check(key: "PublicKey", requester: Requester, now_us: int) -> None:
    rules = key.rules
    if rules.expires_at is not None and rules.expires_at <= now_us:
        raise Problem(kinds.KEY_EXPIRED, "this public key was good until some time ago")
    if requester.origin is not None:
        if ANY not in rules.origins and requester.origin.lower() not in rules.origins:
            raise Problem(kinds.ORIGIN_NOT_ALLOWED, f"Origin is {requester.origin[:100]!r}")
    elif rules.apps and requester.app not in rules.apps:
        raise Problem(kinds.APP_NOT_ALLOWED, f"Sluice-App-Id is {(requester.app or '')[:100]!r}")

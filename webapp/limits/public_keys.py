"""What a public key lets in: from whom, how often, and how much of a day."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from webapp import problems, public_key_problems as kinds
from webapp.limits.address_counts import MINUTE_S, AddressCounts
from webapp.limits.admission import MIDNIGHT_SPREAD_S
from webapp.limits.day_sync import DaySync
from webapp.limits.key_meter import KeyMeter
from webapp.limits.meters import Meters
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
    """A batch that a public key let in and that is not answered yet: `size` bytes are held for it."""

    key: "PublicKey"
    size: int
    wishes: Wishes = NONE


class PublicKeyLimits:
    """Thread-safe, one per process; the counts are shared by the processes of a receiver.

    Every refusal is counted, as of the key's day and in a metric. `later_s` as in `Limits`: what is only held
    by batches under way may be given back.
    """

    def __init__(
        self,
        meters: Meters[KeyMeter],
        addresses: AddressCounts,
        sync: DaySync[KeyMeter],
        counts: CustomerCounts,
        *,
        later_s: tuple[int, int],
    ) -> None:
        self._meters = meters
        self._addresses = addresses
        self._sync = sync
        self._counts = counts
        self._later_s = later_s

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
        """Let a batch in, and hold what it takes of the day; its end has to follow.

        For a body without a length it holds what is left of the day, `most` bytes at most; whether that was
        enough says `fits`. Raises Problem: 429 when the day's bytes, batches or events are used up, or held
        by others, 413 when the batch is larger than a day's bytes.
        """
        with self._meters.open(key.id, self._sync.today()) as meter:
            size, problem = self._room(key.rules, meter, length, most)
            if problem is None:
                meter.requests += 1
                meter.held += size
                wishes = self._wishes(key.rules, meter, length)
        if problem is not None:
            self._refused(key, problem)
            raise problem
        return KeyAdmission(key=key, size=size, wishes=wishes)

    def fits(self, admission: KeyAdmission, size: int) -> None:
        """Whether the body is no larger than what was held for it. Raises Problem."""
        key, allowed = admission.key, admission.key.rules.bytes_a_day
        if allowed is None or size <= admission.size:
            return
        with self._meters.open(key.id, self._sync.today(), under_way=False) as meter:
            rest = allowed - meter.other_bytes - meter.bytes
        problem = (
            _too_large(allowed)
            if size > allowed
            else self._used_up("bytes_a_day", allowed, held=size <= rest)
        )
        self._refused(key, problem)
        raise problem

    def end(self, admission: KeyAdmission, accepted: int | None) -> None:
        """The batch is answered: so many bytes of it were accepted, None when it was refused after all."""
        key_id = admission.key.id
        with self._meters.open(key_id, self._sync.today()) as meter:
            meter.requests -= 1
            meter.held -= admission.size
            if accepted is not None:
                meter.bytes += accepted
                meter.batches += 1
        if accepted is not None:
            self._sync.changed(key_id)

    def learned(self, key: "PublicKey") -> bool:
        """Whether what it may still let in today is known."""
        meter = self._meters.look(key.id)
        return meter is not None and bool(meter.learned)

    def learn(self, connection: Connection, keys: "Collection[PublicKey]") -> None:
        """They were looked up: learn what other receivers let in."""
        self._sync.learn(connection, [key.id for key in keys])

    def close(self) -> None:
        """Write what was counted."""
        self._sync.close()

    def _room(
        self, rules: "KeyRules", meter: KeyMeter, length: int | None, most: int
    ) -> tuple[int, Problem | None]:
        """How many bytes to hold for a batch, or why there are none."""
        size = most if length is None else length
        # What is under way, or not deposited yet, is not known in events.
        if (allowed := rules.events_a_day) is not None and meter.events >= allowed:
            return 0, self._used_up("events_a_day", allowed)
        if (allowed := rules.batches_a_day) is not None:
            rest = allowed - meter.other_batches - meter.batches
            if rest <= meter.requests:
                return 0, self._used_up("batches_a_day", allowed, held=rest > 0)
        if (allowed := rules.bytes_a_day) is not None:
            rest = allowed - meter.other_bytes - meter.bytes
            least = 1 if length is None else length
            if least > allowed:
                return 0, _too_large(allowed)
            if least > rest - meter.held:
                return 0, self._used_up("bytes_a_day", allowed, held=least <= rest)
            size = min(size, rest - meter.held)
        return size, None

    def _wishes(self, rules: "KeyRules", meter: KeyMeter, length: int | None) -> Wishes:
        """Of each bound of the day that the key is near to, by what was sent and not by what is held."""
        left_s, found = self._sync.left_s(), []
        if rules.bytes_a_day is not None:
            used = meter.other_bytes + meter.bytes + (length or 0)
            found.append(of_day(used, rules.bytes_a_day, length, left_s, bytes_=True))
        if rules.batches_a_day is not None:
            used = meter.other_batches + meter.batches + 1
            found.append(of_day(used, rules.batches_a_day, 1, left_s, bytes_=False))
        if rules.events_a_day is not None:
            a_batch = meter.events // max(1, meter.other_batches + meter.batches)
            found.append(of_day(meter.events, rules.events_a_day, a_batch, left_s, bytes_=False))
        return all_of(found)

    def _used_up(self, limit: str, allowed: int, *, held: bool = False) -> Problem:
        """`held`: by batches under way, which may still be refused."""
        (least_s, most_s), left_s = self._later_s, self._sync.left_s()
        return later(
            kinds.KEY_USED_UP,
            f"{limit} of this key is {allowed}"
            + (", and batches under way hold the rest" if held else "")
            + "; the batch was not kept",
            least_s=least_s if held else left_s,
            most_s=most_s if held else left_s + MIDNIGHT_SPREAD_S,
            members={"kept": False, "limit": limit, "allowed": allowed},
        )

    def _refused(self, key: "PublicKey", problem: Problem) -> None:
        with self._meters.open(key.id, self._sync.today(), under_way=False) as meter:
            meter.refused += 1
        self._sync.changed(key.id)
        self._counts.public_key_refused(key.customer.slug, problem.kind.slug)


def _too_large(allowed: int) -> Problem:
    return Problem(
        problems.BODY_TOO_LARGE,
        f"bytes_a_day of this key is {allowed}: a batch of this size is never let in",
        members={"limit_bytes": allowed},
    )


def is_for(rules: "KeyRules", origin: str) -> bool:
    """Whether pages of this origin may use the key."""
    return ANY in rules.origins or origin.lower() in rules.origins


def _check(key: "PublicKey", requester: Requester, now_us: int) -> None:
    rules = key.rules
    if rules.expires_at is not None and rules.expires_at <= now_us:
        raise Problem(kinds.KEY_EXPIRED, "this public key was good until some time ago")
    if requester.origin is not None:
        if not is_for(rules, requester.origin):
            raise Problem(kinds.ORIGIN_NOT_ALLOWED, f"Origin is {requester.origin[:100]!r}")
    elif rules.apps and requester.app not in rules.apps:
        raise Problem(kinds.APP_NOT_ALLOWED, f"Sluice-App-Id is {(requester.app or '')[:100]!r}")

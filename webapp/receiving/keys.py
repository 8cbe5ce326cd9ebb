"""What a key opens: a bounded cache in front of the database, which is asked once at a time for one key.

A request waits for the database only when its key is new to this worker or was not used for a while; keys
in use are looked up again ahead of time, in the background, many of them by one query. While the database is
away the last answer stands.
"""

import hmac
import math
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import CancelledError, Future, TimeoutError as NotYet
from dataclasses import dataclass
from typing import Generic

import structlog

from db.customers.keys import digest as digest_of
from db.errors import DatabaseMisconfigured, DatabaseUnavailable
from webapp.errors import ReceiverUnavailable
from webapp.receiving.key_lookups import MOST_AT_ONCE, Lookup, LookupThread, T

log = structlog.get_logger(__name__)

SECRET_FORM = re.compile(r"sl_[a-z0-9-]{1,40}_[A-Za-z0-9_-]{43}")
PUBLIC_FORM = re.compile(r"pk_[a-z0-9-]{1,40}_[A-Za-z0-9_-]{43}")
REFRESH_AHEAD = 0.4
"""Share of its freshness after which a key in use is looked up in the background, together with others."""
GATHER = 0.4
"""Share of its freshness for which it waits for the others at most."""
MOST_PENDING = 256
"""Look-ups of new keys that wait for the database; more are refused rather than queued."""
MOST_REFRESHED = 2 * MOST_AT_ONCE
"""The same of known keys: as many as are looked up, and as many that wait for it."""
NOBODYS_DIGEST = bytes(32)
"""No text is known that has this SHA-256."""

Find = Callable[[Sequence[bytes]], Mapping[bytes, T]]
_AWAY = (DatabaseUnavailable, DatabaseMisconfigured)


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    digest: bytes
    owner: T | None
    asked_at: float


class KeyCache(Generic[T]):
    """Thread-safe. Keys of one `form`, and what is known of each: whose it is, and what it is good for.
    `find` takes SHA-256s of keys, MOST_AT_ONCE at most, and gives that of those that are somebody's. It may
    block, and raises db.errors.DatabaseUnavailable.

    `current`: whether all is known here that a look-up has told; if not, the key is looked up at once.
    `fresh_s`: after so many seconds an answer is asked for again. `wait_s`: so long does a request wait for
    it. `known`, `unknown`: bounds of what is remembered.
    """

    def __init__(
        self,
        find: Find[T],
        *,
        form: "re.Pattern[str]",
        fresh_s: float,
        wait_s: float,
        known: int,
        unknown: int,
        current: Callable[[T], bool] = lambda owner: True,
    ) -> None:
        self._find = find
        self._current = current
        self._form = form
        self._fresh_s = fresh_s
        self._wait_s = wait_s
        self._bounds = (unknown, known)
        # The dict key is part of a SHA-256; the rest is compared in constant time.
        self._unknown: dict[bytes, _Entry[T]] = {}
        self._known: dict[bytes, _Entry[T]] = {}
        self._lock = threading.Lock()
        # Keys that were good before have a thread of their own: a flood of invented keys cannot delay their
        # refresh.
        self._known_lookups = LookupThread[T](
            "known-keys", self._lock, self._look_up, most=MOST_REFRESHED, gather_s=fresh_s * GATHER
        )
        self._new_lookups = LookupThread[T]("new-keys", self._lock, self._look_up, most=MOST_PENDING)
        self._away = False

    def awaited(self, key: str) -> "Future[T | None] | None":
        """The look-up that a request with this key waits for, for `wait_s` at most; None when `owner`
        answers without. Never blocks.
        """
        if self._form.fullmatch(key) is None:
            return None
        digest = digest_of(key)
        now = time.monotonic()
        entry = self._remembered(self._known, digest)
        if entry is not None:
            if self._away or self._age_s(entry, now) < self._fresh_s:
                return None
            return _found(self._ask(self._known_lookups, digest, urgent=True))
        entry = self._remembered(self._unknown, digest)
        if self._away or (entry is not None and now - entry.asked_at < self._fresh_s):
            return None
        return _found(self._ask(self._new_lookups, digest))

    def owner(self, key: str, *, waited: bool = False) -> T | None:
        """What the key opens, None when nobody has the key. `waited`: for what `awaited` named, if anything.

        Blocks for `wait_s` at most, and not when it was waited for. Raises ReceiverUnavailable when the
        database is away and the key was never seen.
        """
        if self._form.fullmatch(key) is None:
            return None
        digest = digest_of(key)
        now = time.monotonic()
        entry = self._remembered(self._known, digest)
        if entry is not None:
            return self._of_known(entry, now, 0 if waited else self._wait_s)
        entry = self._remembered(self._unknown, digest)
        if entry is not None and now - entry.asked_at < self._fresh_s:
            return None
        return self._of_new(digest, 0 if waited else self._wait_s, nobodys=entry is not None)

    def usable(self) -> bool:
        """Whether some agent can be recognised now: a key is remembered, or the database answers in time."""
        if self._known:
            return True
        try:
            self._of_new(NOBODYS_DIGEST, self._wait_s)
        except ReceiverUnavailable:
            return False
        return True

    def close(self) -> None:
        """Stop the threads; a look-up under way is not waited for."""
        for lookups in (self._known_lookups, self._new_lookups):
            lookups.close()

    def _of_known(self, entry: _Entry[T], now: float, wait_s: float) -> T | None:
        age = self._age_s(entry, now)
        if age < self._fresh_s * REFRESH_AHEAD:
            return entry.owner
        lookup = self._ask(self._known_lookups, entry.digest, urgent=age >= self._fresh_s)
        if age < self._fresh_s or lookup is None or self._away:
            return entry.owner
        try:
            return lookup.found.result(wait_s)
        except (NotYet, CancelledError, *_AWAY):
            return entry.owner

    def _age_s(self, entry: _Entry[T], now: float) -> float:
        current = entry.owner is None or self._current(entry.owner)
        return now - entry.asked_at if current else math.inf

    def _of_new(self, digest: bytes, wait_s: float, *, nobodys: bool = False) -> T | None:
        """`nobodys`: the last answer was that it is."""
        lookup = self._ask(self._new_lookups, digest)
        if lookup is None:
            raise ReceiverUnavailable("too many keys are being looked up")
        try:
            # While the database is away the look-up goes on as a probe, and no request thread is lost to it.
            return lookup.found.result(0 if self._away else wait_s)
        except NotYet:
            if wait_s or time.monotonic() - lookup.begun_at >= self._wait_s:
                # One crowd waits for a database that hangs, the next does not: it is for who can be served.
                self._away = True
            elif nobodys and not self._away:
                # It is looked up again since a moment ago, and was not waited for.
                return None
            raise ReceiverUnavailable("the key's look-up takes too long") from None
        except (CancelledError, *_AWAY):
            raise ReceiverUnavailable("the key could not be looked up") from None

    def _remembered(self, entries: dict[bytes, _Entry[T]], digest: bytes) -> _Entry[T] | None:
        entry = entries.get(digest[:8])
        return entry if entry is not None and hmac.compare_digest(entry.digest, digest) else None

    def _ask(self, lookups: LookupThread[T], digest: bytes, *, urgent: bool = False) -> Lookup[T] | None:
        """The look-up of this key that is under way, or a new one; None when no more may be started.
        `urgent`: it waits for no others.
        """
        with self._lock:
            answered = self._remembered(self._known, digest) if lookups is self._new_lookups else None
            if answered is not None:  # since the caller looked
                found: Future[T | None] = Future()
                found.set_result(answered.owner)
                return Lookup(found, time.monotonic())
            return lookups.ask(digest, urgent=urgent or self._away, one_at_a_time=self._away)

    def _look_up(self, lookups: LookupThread[T], digests: Sequence[bytes]) -> None:
        asked_at = time.monotonic()
        try:
            found = self._find(digests)
        except Exception as error:
            if len(digests) > 1 and not isinstance(error, _AWAY):
                # It may be about one customer, and the others are answered all the same.
                for digest in digests:
                    self._look_up(lookups, [digest])
                return
            self._failed(lookups, digests, error)
            return
        with self._lock:
            for digest in digests:
                self._remember(_Entry(digest, found.get(digest), asked_at))
            promised = lookups.end(digests)
            returned, self._away = self._away, False
        if returned:
            log.info("database_returned")
        for digest, future in zip(digests, promised, strict=True):
            future.set_result(found.get(digest))

    def _failed(self, lookups: LookupThread[T], digests: Sequence[bytes], error: Exception) -> None:
        with self._lock:
            promised = lookups.end(digests)
            went, self._away = not self._away, True
        if isinstance(error, DatabaseMisconfigured):
            if went:
                log.error("database_misconfigured", reason=str(error))
        elif not isinstance(error, DatabaseUnavailable):
            log.error("key_lookup_failed", error=type(error).__name__)
        elif went:
            log.warning("database_went_away", known_keys=len(self._known))
        for future in promised:
            future.set_exception(error)

    def _remember(self, entry: _Entry[T]) -> None:
        place = entry.digest[:8]
        self._known.pop(place, None)
        self._unknown.pop(place, None)
        entries = self._unknown if entry.owner is None else self._known
        entries[place] = entry
        # A refreshed key is put in anew, so the first one is the one that was not used for longest.
        if len(entries) > self._bounds[entries is self._known]:
            del entries[next(iter(entries))]


def given_key(authorization: str) -> str:
    """The key in an Authorization header: `Bearer <key>`, or the key alone; "" when there is none.

    Alone, because no way to write the blank in OTEL_EXPORTER_OTLP_HEADERS is understood by all SDKs.
    """
    scheme, blank, key = authorization.partition(" ")
    if not blank:
        return authorization
    return key.strip(" ") if scheme.lower() == "bearer" else ""


def _found(lookup: Lookup[T] | None) -> Future[T | None] | None:
    return None if lookup is None else lookup.found

"""Who sends a batch: the customer, by a secret key in a header or a public one there or in the query."""

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from db.customers.public_keys import PublicKey
from db.customers.rows import Customer
from webapp import problems, public_key_problems
from webapp.errors import ReceiverUnavailable
from webapp.limits.public_keys import PublicKeyLimits, Requester, is_for
from webapp.problems import Problem
from webapp.receiving.body import Environ
from webapp.receiving.keys import KeyCache, given_key
from webapp.receiving.query import asked

IN_QUERY = "key"
PUBLIC, SECRET = "pk_", "sl_"
"""What keys of each class begin with."""
APP_ID = "HTTP_SLUICE_APP_ID"
ALLOWED_PAGE = "sluice.allowed-page"
"""The request's Origin, in its environ, once it was found to be one that its public key is for."""

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="sluice"'}

Later = Callable[[problems.ProblemType, str, float], Problem]


@dataclass(frozen=True, slots=True)
class Sender:
    """Whose batch it is; `public` is the key that was used, if it is a public one."""

    customer: Customer
    public: PublicKey | None = None


class Authenticator:
    """Thread-safe, one per process.

    Public keys have a cache of their own: who invents some, as everybody can, takes nothing of the others'.
    `now_us`: µs since 1970 by the ledger's clock. `proxies`: so many stand before the receiver, each of which
    adds the address that it sees to X-Forwarded-For.
    """

    def __init__(
        self,
        keys: KeyCache[Customer],
        public_keys: KeyCache[PublicKey],
        limits: PublicKeyLimits,
        now_us: Callable[[], int],
        *,
        proxies: int,
    ) -> None:
        self._keys = keys
        self._public_keys = public_keys
        self._limits = limits
        self._now_us = now_us
        self._proxies = proxies

    def awaited(self, environ: Environ) -> "Future[Any] | None":
        """The look-up that `sender` would wait for. Never blocks."""
        try:
            key = _key(environ)
        except Problem:
            return None
        return self._public_keys.awaited(key) if key.startswith(PUBLIC) else self._keys.awaited(key)

    def sender(self, environ: Environ, later: Later, *, waited: bool) -> Sender:
        """Whose key the request has. `waited`: for what `awaited` named, if anything. Raises Problem, with
        `later` for one that asks to come again.
        """
        key = _key(environ)
        found: Sender | None = None
        try:
            if key.startswith(PUBLIC):
                if (public := self._public_keys.owner(key, waited=waited)) is not None:
                    found = Sender(public.customer, public)
            elif (customer := self._keys.owner(key, waited=waited)) is not None:
                found = Sender(customer)
        except ReceiverUnavailable as error:
            said = "the key could not be looked up"
            raise later(problems.UNAVAILABLE, said, error.retry_after_s) from None
        if found is None:
            raise _unauthenticated("nobody has this key")
        return found

    def check(self, sender: Sender, environ: Environ) -> None:
        """Whether a public key is good for this request, which is counted. Raises Problem."""
        if sender.public is not None:
            origin = environ.get("HTTP_ORIGIN")
            if origin is not None and is_for(sender.public.rules, origin):
                environ[ALLOWED_PAGE] = origin
            requester = Requester(origin=origin, app=environ.get(APP_ID), address=self._address(environ))
            self._limits.check(sender.public, requester, self._now_us())

    def _address(self, environ: Environ) -> str:
        """Who sent it, as far as those say who are known to stand in between."""
        seen: str = environ.get("REMOTE_ADDR", "")
        if self._proxies:
            forwarded = environ.get("HTTP_X_FORWARDED_FOR", "").split(",")
            if len(forwarded) >= self._proxies:
                return str(forwarded[-self._proxies]).strip(" \t") or seen
        return seen


def _key(environ: Environ) -> str:
    """The public one of the query when there is one, else that of the header. Raises Problem."""
    in_query = asked(environ, IN_QUERY)
    if in_query is not None and in_query.startswith(PUBLIC):
        return in_query
    if in_query is not None and in_query.startswith(SECRET):
        raise Problem(public_key_problems.KEY_IN_URL, "only public keys may be in a URL", headers=_CHALLENGE)
    key = given_key(environ.get("HTTP_AUTHORIZATION", ""))
    if not key:
        raise _unauthenticated("Authorization is missing or is not `Bearer <key>`")
    return key


def _unauthenticated(detail: str) -> Problem:
    return Problem(problems.UNAUTHENTICATED, detail, headers=_CHALLENGE)

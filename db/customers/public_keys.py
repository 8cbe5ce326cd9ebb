"""Public keys: those that stand in pages and apps, where everybody can read them.

Each is kept as it is, so that it can be shown again, and found by its SHA-256 as the other keys are.
"""

import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, insert, select, update

from db.clock import now_us
from db.customers.keys import digest, locked_slug
from db.customers.rows import Customer, customer
from db.errors import Refusal, TooManyKeys
from db.tables import customers, public_keys

MAX_LIVE = 100
MOST_NAMES = 100
"""Origins of a key, and as many ids of apps."""
ANY = "*"
"""In place of origins: those of all pages."""
ORIGIN_FORM = re.compile(
    r"[a-z][a-z0-9+.-]{0,30}://([a-z0-9._~-]{1,200}|\[[0-9a-f:.]{2,45}\])(:[1-9][0-9]{0,4})?"
)
APP_FORM = re.compile(r"[A-Za-z0-9._-]{1,100}")

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}

_COLUMNS = (public_keys.c.id.label("key_id"), *(c for c in public_keys.c if c.name not in customers.c))
_KEYS: Select[Any] = select(*_COLUMNS, public_keys.c.created_at.label("key_created_at"), *customers.c).join(
    customers, public_keys.c.customer_id == customers.c.id
)
# Built once: to build a statement takes longer than to run it.
_FOUND = _KEYS.where(
    public_keys.c.digest.in_(bindparam("digests", expanding=True)), public_keys.c.revoked_at.is_(None)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRules:
    """What a public key lets in, for the customer's limits apply beside it. None is no bound.

    `origins`: pages of these may use it (`ANY`: all), and no others. `apps`: what sends no Origin has to
    name one of these, when there are any. `bytes_a_day` are those of bodies as sent, from midnight to
    midnight UTC; so are `batches_a_day`, and `events_a_day`, which are known when they are deposited.
    `requests_a_minute` are those of one address. `expires_at`: µs.
    """

    origins: tuple[str, ...] = ()
    apps: tuple[str, ...] = ()
    bytes_a_day: int | None = None
    batches_a_day: int | None = None
    events_a_day: int | None = None
    requests_a_minute: int | None = None
    expires_at: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A live key of a customer, `key` as agents send it. `created_at`: µs since 1970."""

    id: int
    key: str
    customer: Customer
    rules: KeyRules
    created_at: int


def issue(conn: Connection, customer_id: int, rules: KeyRules) -> str:
    """A new key `pk_<slug>_<43 random characters>`. Raises Refusal for rules that make no sense, and
    TooManyKeys.
    """
    rules = replace(rules, origins=tuple(dict.fromkeys(map(as_sent, rules.origins))))
    _check(rules)
    slug = locked_slug(conn, customer_id)
    if len(live(conn, customer_id)) >= MAX_LIVE:
        raise TooManyKeys(f"customer {slug} has {MAX_LIVE} live public keys; revoke one")
    key = f"pk_{slug}_{secrets.token_urlsafe(32)}"
    conn.execute(
        insert(public_keys).values(
            customer_id=customer_id,
            digest=digest(key),
            key=key,
            origins=list(rules.origins),
            apps=list(rules.apps),
            bytes_a_day=rules.bytes_a_day,
            batches_a_day=rules.batches_a_day,
            events_a_day=rules.events_a_day,
            requests_a_minute=rules.requests_a_minute,
            expires_at=rules.expires_at,
            created_at=now_us(conn),
        )
    )
    return key


def as_sent(origin: str) -> str:
    """The origin as browsers write it (RFC 6454, 6.1): in lower case, without its scheme's own port."""
    origin = origin.lower()
    return origin.removesuffix(_DEFAULT_PORTS.get(origin.partition("://")[0], ""))


def live(conn: Connection, customer_id: int) -> list[PublicKey]:
    """The customer's keys that are not revoked, oldest first, with those that have expired."""
    query = _KEYS.where(public_keys.c.customer_id == customer_id, public_keys.c.revoked_at.is_(None))
    return [_key(row) for row in conn.execute(query.order_by(public_keys.c.id))]


def revoke(conn: Connection, customer_id: int, key: str) -> bool:
    """End this live key; False when there is none."""
    locked_slug(conn, customer_id)
    mine = update(public_keys).where(
        public_keys.c.customer_id == customer_id,
        public_keys.c.digest == digest(key),
        public_keys.c.revoked_at.is_(None),
    )
    return conn.execute(mine.values(revoked_at=now_us(conn))).rowcount == 1


def find_all(conn: Connection, digests: Sequence[bytes]) -> dict[bytes, PublicKey]:
    """The live keys of these digests, of which there may be some hundreds; without those of nobody."""
    return {bytes(row.digest): _key(row) for row in conn.execute(_FOUND, {"digests": digests})}


def _key(row: Row[Any]) -> PublicKey:
    rules = KeyRules(
        origins=tuple(row.origins),
        apps=tuple(row.apps),
        bytes_a_day=row.bytes_a_day,
        batches_a_day=row.batches_a_day,
        events_a_day=row.events_a_day,
        requests_a_minute=row.requests_a_minute,
        expires_at=row.expires_at,
    )
    return PublicKey(
        id=row.key_id, key=row.key, customer=customer(row), rules=rules, created_at=row.key_created_at
    )


def _check(rules: KeyRules) -> None:
    if not rules.origins and not rules.apps:
        raise Refusal(f"name the origins or the apps that may use the key; {ANY!r} is any origin")
    if max(len(rules.origins), len(rules.apps)) > MOST_NAMES:
        raise Refusal(f"a key has at most {MOST_NAMES} origins and as many apps")
    for origin in rules.origins:
        if origin != ANY and ORIGIN_FORM.fullmatch(origin) is None:
            raise Refusal(
                f"{origin[:100]!r} is no origin: use one like https://shop.example or http://localhost:8080,"
                f" in ASCII, without a path or wildcard; {ANY!r} alone is any origin"
            )
    for app in rules.apps:
        if APP_FORM.fullmatch(app) is None:
            raise Refusal(f"{app[:100]!r} is no app id: use 1 to 100 of A-Z, a-z, 0-9, dots and hyphens")

"""Agents' keys: 256 random bits, so a plain SHA-256 of one is enough to keep; the key itself is not kept."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from sqlalchemy import ColumnElement, Connection, bindparam, insert, select, update

from db.clock import now_us
from db.customers.rows import DELETING, Customer, being_deleted, customer
from db.errors import Refusal, TooManyKeys
from db.tables import customer_keys, customers

MAX_LIVE = 2
ID_DIGITS = 12
"""Of a key's digest, in hexadecimal digits: they name the key and give nothing of it away."""

# Built once: to build a statement takes longer than to run it.
_OWNERS = (
    select(customer_keys.c.digest, *customers.c)
    .join(customers, customer_keys.c.customer_id == customers.c.id)
    .where(
        customer_keys.c.digest.in_(bindparam("digests", expanding=True)), customer_keys.c.revoked_at.is_(None)
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveKey:
    """A key that agents can use: `id` are the first digits of its SHA-256. `created_at`: µs since 1970."""

    id: str
    created_at: int


def digest(key: str) -> bytes:
    """The 32 bytes under which a key is kept."""
    return sha256(key.encode()).digest()


def issue(conn: Connection, customer_id: int) -> str:
    """A new key `sl_<slug>_<43 random characters>`, shown this once. Raises TooManyKeys when two are live."""
    slug = locked_slug(conn, customer_id)
    if len(_live(conn, customer_id)) >= MAX_LIVE:
        raise TooManyKeys(f"customer {slug} has {MAX_LIVE} live keys; rotate to replace the older")
    return _issue(conn, customer_id, slug)


def rotate(conn: Connection, customer_id: int) -> str:
    """A new key; of two live ones the older is revoked, so that agents move over key by key."""
    slug = locked_slug(conn, customer_id)
    live = _live(conn, customer_id)
    for key_id in live[: len(live) - (MAX_LIVE - 1)] if len(live) >= MAX_LIVE else []:
        conn.execute(
            update(customer_keys).where(customer_keys.c.id == key_id).values(revoked_at=now_us(conn))
        )
    return _issue(conn, customer_id, slug)


def live(conn: Connection, customer_id: int) -> list[LiveKey]:
    """The customer's keys that are not revoked, oldest first."""
    query = select(customer_keys.c.digest, customer_keys.c.created_at).where(*_live_of(customer_id))
    rows = conn.execute(query.order_by(customer_keys.c.id))
    return [LiveKey(id=bytes(row.digest).hex()[:ID_DIGITS], created_at=row.created_at) for row in rows]


def revoke(conn: Connection, customer_id: int, key_id: str) -> int | None:
    """End the live key of this id; returns how many are left, None when there is no such key."""
    locked_slug(conn, customer_id)
    query = select(customer_keys.c.id, customer_keys.c.digest).where(*_live_of(customer_id))
    found = {bytes(row.digest).hex()[:ID_DIGITS]: row.id for row in conn.execute(query)}
    if key_id not in found:
        return None
    ended = update(customer_keys).where(customer_keys.c.id == found[key_id])
    conn.execute(ended.values(revoked_at=now_us(conn)))
    return len(found) - 1


def find(conn: Connection, key_digest: bytes) -> Customer | None:
    """Whose live key has this digest."""
    return find_all(conn, [key_digest]).get(key_digest)


def find_all(conn: Connection, digests: Sequence[bytes]) -> dict[bytes, Customer]:
    """Whose live keys have these digests, of which there may be some hundreds; without those of nobody."""
    rows = conn.execute(_OWNERS, {"digests": digests})
    return {bytes(row.digest): customer(row) for row in rows}


def locked_slug(conn: Connection, customer_id: int) -> str:
    """Of the customer, whose row stays locked: to issue or end a key. Raises Refusal."""
    # The lock makes two operators who issue at once count each other's keys.
    query = select(customers.c.slug, customers.c.state).where(customers.c.id == customer_id)
    found = conn.execute(query.with_for_update()).one_or_none()
    if found is None:
        raise Refusal(f"there is no customer {customer_id}")
    if found.state == DELETING:
        raise Refusal(being_deleted(found.slug))
    slug: str = found.slug
    return slug


def _live(conn: Connection, customer_id: int) -> list[int]:
    query = select(customer_keys.c.id).where(*_live_of(customer_id))
    return list(conn.execute(query.order_by(customer_keys.c.id)).scalars())


def _live_of(customer_id: int) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
    return customer_keys.c.customer_id == customer_id, customer_keys.c.revoked_at.is_(None)


def _issue(conn: Connection, customer_id: int, slug: str) -> str:
    key = f"sl_{slug}_{secrets.token_urlsafe(32)}"
    conn.execute(
        insert(customer_keys).values(customer_id=customer_id, digest=digest(key), created_at=now_us(conn))
    )
    return key

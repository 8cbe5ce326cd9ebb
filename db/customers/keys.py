"""Agents' keys: 256 random bits, so a plain SHA-256 of one is enough to keep; the key itself is not kept."""

import secrets
from hashlib import sha256

from sqlalchemy import Connection, insert, select, update

from db.clock import now_us
from db.customers.rows import Customer, customer
from db.errors import Refusal, TooManyKeys
from db.tables import customer_keys, customers

MAX_LIVE = 2


def digest(key: str) -> bytes:
    """The 32 bytes under which a key is kept."""
    return sha256(key.encode()).digest()


def issue(conn: Connection, customer_id: int) -> str:
    """A new key `sl_<slug>_<43 random characters>`, shown this once. Raises TooManyKeys when two are live."""
    slug = _locked_slug(conn, customer_id)
    if len(_live(conn, customer_id)) >= MAX_LIVE:
        raise TooManyKeys(f"customer {slug} has {MAX_LIVE} live keys; rotate to replace the older")
    return _issue(conn, customer_id, slug)


def rotate(conn: Connection, customer_id: int) -> str:
    """A new key; of two live ones the older is revoked, so that agents move over key by key."""
    slug = _locked_slug(conn, customer_id)
    live = _live(conn, customer_id)
    for key_id in live[: len(live) - (MAX_LIVE - 1)] if len(live) >= MAX_LIVE else []:
        conn.execute(
            update(customer_keys).where(customer_keys.c.id == key_id).values(revoked_at=now_us(conn))
        )
    return _issue(conn, customer_id, slug)


def find(conn: Connection, key_digest: bytes) -> Customer | None:
    """Whose live key has this digest."""
    query = (
        select(*customers.c)
        .join(customer_keys, customer_keys.c.customer_id == customers.c.id)
        .where(customer_keys.c.digest == key_digest, customer_keys.c.revoked_at.is_(None))
    )
    row = conn.execute(query).one_or_none()
    return None if row is None else customer(row)


def _locked_slug(conn: Connection, customer_id: int) -> str:
    # The lock makes two operators who issue at once count each other's keys.
    query = select(customers.c.slug).where(customers.c.id == customer_id).with_for_update()
    slug: str | None = conn.execute(query).scalar_one_or_none()
    if slug is None:
        raise Refusal(f"there is no customer {customer_id}")
    return slug


def _live(conn: Connection, customer_id: int) -> list[int]:
    query = select(customer_keys.c.id).where(
        customer_keys.c.customer_id == customer_id, customer_keys.c.revoked_at.is_(None)
    )
    return list(conn.execute(query.order_by(customer_keys.c.id)).scalars())


def _issue(conn: Connection, customer_id: int, slug: str) -> str:
    key = f"sl_{slug}_{secrets.token_urlsafe(32)}"
    conn.execute(
        insert(customer_keys).values(customer_id=customer_id, digest=digest(key), created_at=now_us(conn))
    )
    return key

"""What operators did about customers, with who and why. A note outlives its customer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Select, insert, select

from db.clock import now_us
from db.customers.rows import Customer
from db.tables import customer_notes

CustomerAct = Literal[
    "pause",
    "resume",
    "drop",
    "block",
    "retention",
    "add-public-key",
    "revoke-key",
    "revoke-public-key",
    "delete",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerNote:
    """Who did it, in their own words why ("": not said), and what it changed. Times are µs since 1970.

    `ended_at` is None while a deletion is under way; all else ends when it is noted. A customer that was
    added anew under the slug of a deleted one has another `customer_id`.
    """

    id: int
    customer_id: int
    slug: str
    act: CustomerAct
    who: str
    why: str
    detail: Mapping[str, Any]
    noted_at: int
    ended_at: int | None


def add(
    conn: Connection,
    customer: Customer,
    act: CustomerAct,
    *,
    who: str,
    why: str,
    detail: Mapping[str, Any] | None = None,
    ended: bool = True,
) -> None:
    """Write down what was done, in the transaction that does it."""
    now = now_us(conn)
    conn.execute(
        insert(customer_notes).values(
            customer_id=customer.id,
            slug=customer.slug,
            act=act,
            who=_storable(who),
            why=_storable(why),
            detail=dict(detail or {}),
            noted_at=now,
            ended_at=now if ended else None,
        )
    )


def history(conn: Connection, slug: str) -> list[CustomerNote]:
    """What was done about all customers that ever had this slug, oldest first."""
    return _select(conn, _ALL.where(customer_notes.c.slug == slug).order_by(customer_notes.c.id))


def last(conn: Connection, customer: Customer) -> CustomerNote | None:
    """What was done last about this customer."""
    mine = _ALL.where(customer_notes.c.slug == customer.slug, customer_notes.c.customer_id == customer.id)
    found = _select(conn, mine.order_by(customer_notes.c.id.desc()).limit(1))
    return found[0] if found else None


_ALL: Select[*tuple[Any, ...]] = select(*(customer_notes.c[name] for name in CustomerNote.__slots__))


def _select(conn: Connection, query: Select[*tuple[Any, ...]]) -> list[CustomerNote]:
    return [CustomerNote(**row._mapping) for row in conn.execute(query)]


def _storable(words: str) -> str:
    # PostgreSQL's text cannot hold NUL.
    return words.replace("\0", "\ufffd")

"""What each receiver let in and refused of a public key on a day, as `db.customers.quota_use`."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, func, select, text

from db.clock import DAY_US, today
from db.customers.day_use import Written
from db.tables import public_key_use, public_keys

KEPT_DAYS = 31
# A receiver's counts only grow: of two of its processes that write, the later count wins in whatever order.
_WRITE = text(
    "INSERT INTO public_key_use AS known (key_id, day, receiver, customer_id, bytes, batches, refused)"
    # Not of a customer that was deleted meanwhile.
    " SELECT k.id, :day, :receiver, k.customer_id, :bytes, :batches, :refused FROM public_keys k"
    " JOIN customers c ON c.id = k.customer_id WHERE k.id = :key_id AND c.state <> 'deleting'"
    " ON CONFLICT (key_id, day, receiver) DO UPDATE SET"
    " bytes = excluded.bytes, batches = excluded.batches, refused = excluded.refused"
    " WHERE excluded.bytes >= known.bytes AND excluded.batches >= known.batches"
    " AND excluded.refused >= known.refused"
)
# Built once: to build a statement takes longer than to run it.
_WRITTEN = select(public_key_use).where(
    public_key_use.c.key_id.in_(bindparam("ids", expanding=True)), public_key_use.c.day == bindparam("day")
)


class KeyUse(NamedTuple):
    """Of a day: bytes of bodies as sent, batches, and requests that a rule of the key refused; of what others
    wrote also the events that deposits counted (`public_key_events`).
    """

    bytes: int = 0
    batches: int = 0
    refused: int = 0
    events: int = 0

    def plus(self, other: "KeyUse") -> "KeyUse":
        return KeyUse(*(one + more for one, more in zip(self, other, strict=True)))


def write(conn: Connection, receiver: str, day: int, uses: Mapping[int, KeyUse]) -> None:
    """What this receiver counted on the day (since 1970, UTC) so far, by id of the key. May be repeated."""
    for key_id in sorted(uses):
        values = {"key_id": key_id, "day": day, "receiver": receiver, **uses[key_id]._asdict()}
        conn.execute(_WRITE, values)


def forget(conn: Connection, now_us: int) -> None:
    """Forget days that are long over, of keys that nobody uses any more, too."""
    old = public_key_use.c.day < now_us // DAY_US - KEPT_DAYS
    # One look at the index for each key, and not at all days of all of them.
    some = select(public_key_use.c.day).where(public_key_use.c.key_id == public_keys.c.id, old).exists()
    conn.execute(
        delete(public_key_use).where(public_key_use.c.key_id.in_(select(public_keys.c.id).where(some)), old)
    )


def written(
    conn: Connection, key_ids: Sequence[int], day: int, *, receiver: str
) -> dict[int, Written[KeyUse]]:
    """What was written for the day of those of the keys of which anything was."""
    found, nothing = dict[int, Written[KeyUse]](), Written(KeyUse(), KeyUse())
    for row in conn.execute(_WRITTEN, {"ids": key_ids, "day": day}):
        use, before = KeyUse(row.bytes, row.batches, row.refused, row.events), found.get(row.key_id, nothing)
        if row.receiver == receiver:
            found[row.key_id] = before._replace(own=before.own.plus(use))
        else:
            found[row.key_id] = before._replace(others=before.others.plus(use))
    return found


def refused(conn: Connection, customer_id: int | None = None) -> dict[int, int]:
    """How many requests with public keys, revoked ones too, were refused today and in the KEPT_DAYS before,
    by customer: of one, or of all, but those of which none was.
    """
    query = select(public_key_use.c.customer_id, func.sum(public_key_use.c.refused).label("refused"))
    query = query.where(public_key_use.c.day >= today(conn) - KEPT_DAYS)
    if customer_id is not None:
        query = query.where(public_key_use.c.customer_id == customer_id)
    rows = conn.execute(query.group_by(public_key_use.c.customer_id))
    return {row.customer_id: int(row.refused) for row in rows if row.refused}

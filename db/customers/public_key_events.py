"""How many events deposits found in the batches of a public key on a day: a row of `public_key_use`, beside
those of the receivers.
"""

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, text

from db import bulk

DEPOSITS = "deposits"
"""In place of a receiver."""
# Deposits of one customer come one after the other, so that no two wait for this row.
_ADD = text(
    "INSERT INTO public_key_use (key_id, day, receiver, customer_id, bytes, batches, refused, events)"
    # Who may write to a stream can name any key.
    " SELECT id, :day, :receiver, customer_id, 0, 0, 0, :events FROM public_keys"
    " WHERE id = :key_id AND customer_id = :customer_id"
    " ON CONFLICT (key_id, day, receiver) DO UPDATE SET events = public_key_use.events + excluded.events"
)


class KeyDay(NamedTuple):
    """A customer's public key on a day (since 1970, UTC)."""

    customer_id: int
    key_id: int
    day: int


def add(conn: Connection, events: Mapping[KeyDay, int]) -> None:
    """In the deposit's transaction, after it has locked the customers' other deposits out; no statement for
    nothing. On PostgreSQL in a block of `db.bulk.together`, which sends all at once.
    """
    for of, count in events.items():
        values = {**of._asdict(), "receiver": DEPOSITS, "events": count}
        if bulk.is_postgresql(conn):
            bulk.send(conn, _ADD, values)
        else:
            conn.execute(_ADD, values)

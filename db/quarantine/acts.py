"""What an operator does about quarantined rows, with a note of who and why in the same transaction.

kept ─begin─▶ replaying ─finish─▶ replayed; published in between, and again after a death there
kept ─discard─▶ discarded
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Connection, Select, bindparam, insert, select, update

from db.quarantine.rows import Quarantined, RowState, listed
from db.tables import quarantine, quarantine_notes

Act = Literal["replay", "export", "discard"]

REPLAYABLE: tuple[RowState, ...] = ("kept", "replaying")

_BEGIN = (
    update(quarantine)
    .where(quarantine.c.id == bindparam("of"))
    .values(state="replaying", replayed_as=bindparam("name"), replayed_at=bindparam("at"))
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Who did it, in their own words why ("": not said), and when, µs since 1970."""

    act: Act
    who: str
    why: str
    noted_at: int


def lock(
    conn: Connection, row_ids: Sequence[int], states: Sequence[RowState]
) -> list[tuple[Quarantined, bytes]]:
    """Those of the rows that are in one of these states, with their bytes, kept from others until the commit.

    Oldest first, so that two who lock the same rows wait for each other in one order.
    """
    query: Select[*tuple[Any, ...]] = (
        select(*listed(), quarantine.c.bytes)
        .where(quarantine.c.id.in_(row_ids), quarantine.c.state.in_(states))
        .order_by(quarantine.c.id)
        .with_for_update()
    )
    found = []
    for row in conn.execute(query):
        values = dict(row._mapping)
        data = bytes(values.pop("bytes"))
        found.append((Quarantined(**values), data))
    return found


def begin_replay(conn: Connection, names: Mapping[int, str], now_us: int) -> None:
    """These locked rows are about to be published, each under the batch id that it is mapped to.

    From the commit on such a batch id is not forgotten before the row is marked as replayed: a second try
    after any time is found to be a repeat.
    """
    if names:
        conn.execute(_BEGIN, [{"of": row_id, "name": name, "at": now_us} for row_id, name in names.items()])


def finish_replay(conn: Connection, row_ids: Sequence[int], now_us: int) -> None:
    """The raw stream has these rows' batches; harmless when another said so meanwhile."""
    mine = quarantine.c.id.in_(row_ids), quarantine.c.state.in_(("replaying", "replayed"))
    conn.execute(update(quarantine).where(*mine).values(state="replayed", replayed_at=now_us))


def discard(conn: Connection, row_ids: Sequence[int]) -> list[int]:
    """Delete the bytes of those rows that are still *kept*, and return their ids. The books need the rows.

    What says where withheld bytes are goes too: nobody fetches them any more.
    """
    mine = quarantine.c.id.in_(row_ids), quarantine.c.state == "kept"
    nothing = {"bytes": b"", "withheld": None, "sha256": None}
    change = update(quarantine).where(*mine).values(state="discarded", **nothing)
    return list(conn.execute(change.returning(quarantine.c.id)).scalars())


def note(conn: Connection, customer_id: int, row_ids: Iterable[int], written: Note) -> None:
    """Write the note at each of these rows."""
    values = [
        {
            "customer_id": customer_id,
            "quarantine_id": row_id,
            "act": written.act,
            "who": _storable(written.who),
            "why": _storable(written.why),
            "noted_at": written.noted_at,
        }
        for row_id in row_ids
    ]
    if values:
        conn.execute(insert(quarantine_notes), values)


def notes(conn: Connection, row_id: int) -> list[Note]:
    """What was done about the row, oldest first."""
    query = select(*(quarantine_notes.c[name] for name in Note.__slots__)).where(
        quarantine_notes.c.quarantine_id == row_id
    )
    return [Note(**row._mapping) for row in conn.execute(query.order_by(quarantine_notes.c.id))]


def _storable(words: str) -> str:
    # PostgreSQL's text cannot hold NUL.
    return words.replace("\0", "\ufffd")

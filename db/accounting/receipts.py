"""Where is my batch: the answer for one batch id."""

from dataclasses import dataclass, replace
from typing import Literal

from sqlalchemy import Connection, func, select

from db.tables import batches, quarantine, windows

BatchState = Literal["discarded", "dispatched", "deposited", "quarantined"]

MOST_REPLAYS = 100
"""A receipt names so many replays of a batch at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of a batch. Times are µs since 1970; `window_id` and `deposited_at` None if not yet so.

    `reasons` are those of whole batches in quarantine; for a *deposited* one, of batches that reused its id.
    `rejected` counts its events in quarantine. `replays` are the batch ids under which it, or events of it,
    were sent again, oldest first, 100 at most; `replay_of` is the batch id that this one is a replay of.
    """

    batch_id: str
    state: BatchState
    stream_offset: int
    accepted_at: int
    window_id: int | None
    deposited_at: int | None
    reasons: tuple[str, ...]
    rejected: int
    replays: tuple[str, ...]
    replay_of: str | None


def find(conn: Connection, customer_id: int, batch_id: str) -> Receipt | None:
    """None for a batch that was never dispatched, or so long ago that its id is forgotten."""
    seen = conn.execute(
        select(batches.c.first_offset, batches.c.accepted_at, batches.c.state, batches.c.window_id).where(
            batches.c.customer_id == customer_id, batches.c.batch_id == batch_id
        )
    ).one_or_none()
    whole, rejected = _quarantined(conn, customer_id, batch_id)
    replays, replay_of = _replays(conn, customer_id, batch_id), _replay_of(conn, customer_id, batch_id)
    if seen is None:
        found = _only_quarantined(batch_id, whole, rejected)
        return found and replace(found, replays=replays, replay_of=replay_of)
    deposited_at = _deposited_at(conn, seen.window_id)
    state: BatchState = "dispatched" if deposited_at is None else "deposited"
    if seen.state == "discarded":
        state = "discarded"
    elif any(offset == seen.first_offset for offset, _, _ in whole):
        state = "quarantined"
    return Receipt(
        batch_id=batch_id,
        state=state,
        stream_offset=seen.first_offset,
        accepted_at=seen.accepted_at,
        window_id=seen.window_id,
        deposited_at=deposited_at,
        reasons=tuple(reason for _, _, reason in whole),
        rejected=rejected,
        replays=replays,
        replay_of=replay_of,
    )


def _deposited_at(conn: Connection, window_id: int | None) -> int | None:
    query = select(windows.c.deposited_at).where(windows.c.id == window_id)
    at: int | None = conn.execute(query).scalar_one_or_none()
    return at


def _quarantined(conn: Connection, customer_id: int, batch_id: str) -> tuple[list[tuple[int, int, str]], int]:
    """(offset, accepted_at, reason) of whole batches under this id, and how many of its events."""
    mine = (quarantine.c.customer_id == customer_id, quarantine.c.batch_id == batch_id)
    wholes = select(quarantine.c.stream_offset, quarantine.c.accepted_at, quarantine.c.reason)
    rows = conn.execute(wholes.where(*mine, quarantine.c.row.is_(None)).order_by(quarantine.c.id))
    events = conn.execute(select(func.count(quarantine.c.row)).where(*mine)).scalar_one()
    return [(row.stream_offset, row.accepted_at, row.reason) for row in rows], events


def _replays(conn: Connection, customer_id: int, batch_id: str) -> tuple[str, ...]:
    mine = quarantine.c.customer_id == customer_id, quarantine.c.batch_id == batch_id
    query = select(quarantine.c.replayed_as).where(*mine, quarantine.c.replayed_as.is_not(None))
    return tuple(conn.execute(query.order_by(quarantine.c.id).limit(MOST_REPLAYS)).scalars())


def _replay_of(conn: Connection, customer_id: int, batch_id: str) -> str | None:
    mine = quarantine.c.customer_id == customer_id, quarantine.c.replayed_as == batch_id
    original: str | None = conn.execute(select(quarantine.c.batch_id).where(*mine).limit(1)).scalar()
    return original


def _only_quarantined(batch_id: str, whole: list[tuple[int, int, str]], rejected: int) -> Receipt | None:
    if not whole:
        return None
    offset, accepted_at, _ = whole[0]
    return Receipt(
        batch_id=batch_id,
        state="quarantined",
        stream_offset=offset,
        accepted_at=accepted_at,
        window_id=None,
        deposited_at=None,
        reasons=tuple(reason for _, _, reason in whole),
        rejected=rejected,
        replays=(),
        replay_of=None,
    )

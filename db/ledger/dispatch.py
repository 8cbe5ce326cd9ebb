"""The dispatcher's writes: what was cut from a customer's raw stream, recorded in one transaction."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from sqlalchemy import Connection, bindparam, delete, insert, select, text, update

from db import bulk, tables
from db.errors import LostLease
from db.ledger import record_at_once
from db.ledger.leases import Lease, claim, peek, release, renew
from db.ledger.windows import Fingerprints, new_token
from db.quarantine import rows as quarantine
from db.quarantine.rows import NewQuarantine
from db.tables import dispatch, windows

__all__ = [
    "Known",
    "Lease",
    "LostLease",
    "NewBatch",
    "NewQuarantine",
    "NewWindow",
    "Position",
    "claim",
    "known",
    "peek",
    "position",
    "positions",
    "record",
    "release",
    "renew",
]

_BATCHES = (
    *("customer_id", "batch_id", "digest", "first_offset", "window_id", "accepted_at", "state"),
    "booked_at",
)
# LIMIT makes it one look at the index for each id, whatever PostgreSQL believes of a table that grew since it
# was analyzed.
_KNOWN = {
    "postgresql": text(
        "SELECT b.* FROM unnest(CAST(:customers AS bigint[]), CAST(:ids AS text[])) k (customer_id, batch_id)"
        " CROSS JOIN LATERAL (SELECT customer_id, batch_id, digest, state FROM batches"
        " WHERE customer_id = k.customer_id AND batch_id = k.batch_id LIMIT 1) b"
    ),
    "sqlite": text(
        "SELECT b.customer_id, b.batch_id, b.digest, b.state FROM json_each(:pairs) k CROSS JOIN batches b"
        " ON b.customer_id = json_extract(k.value, '$[0]') AND b.batch_id = json_extract(k.value, '$[1]')"
    ),
}
# Built once: to build a statement takes longer than to run it.
_AT = update(dispatch).where(
    dispatch.c.customer_id == bindparam("of"),
    dispatch.c.epoch == bindparam("in_epoch"),
    dispatch.c.next_offset == bindparam("before"),
)
_COUNTS = ("batches", "duplicates", "reused", "discarded", "expired")
_MORE = {name: dispatch.c[name] + bindparam(f"more_{name}") for name in _COUNTS}
_MOVE = _AT.values(next_offset=bindparam("after"), edge=bindparam("new_edge"), **_MORE)
_OPEN = insert(windows).returning(windows.c.id)
_DECIDED = ("decoded", "kept", "dropped", "rejected", "quarantined")
_DISPATCHED = {"state": "dispatched", "rings": 1} | dict.fromkeys(_DECIDED)
_EMPTY = {"state": "deposited", "rings": 0} | dict.fromkeys(_DECIDED, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """The cursor and what it passed: batches = duplicates + reused + discarded + expired + in windows.

    `edge`: the fingerprint of the message before the cursor, None where none is known.
    """

    customer_id: int
    next_offset: int
    epoch: int
    batches: int
    duplicates: int
    reused: int
    discarded: int
    expired: int
    generation: int
    edge: bytes | None


class Known(NamedTuple):
    """What is remembered of a batch id. `discarded`: its content was never kept."""

    digest: bytes
    discarded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NewWindow:
    """`batches` counts those to be processed: not the ones at `skipped` offsets. `fingerprints`: of the
    messages at all its offsets, in order, 8 bytes each.
    """

    first_offset: int
    last_offset: int
    skipped: Sequence[int] = field(default=())
    batches: int
    bytes: int
    pipeline_version: int
    created_at: int
    first_accepted_at: int
    last_accepted_at: int
    generation: int = 0
    fingerprints: Fingerprints | None = None


_OPENED = (*NewWindow.__slots__, "rung_at", "token", *_DISPATCHED)
_AT_ONCE = record_at_once.at_once(_MOVE.returning(dispatch.c.customer_id), _OPENED)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewBatch:
    """A batch seen for the first time; `discarded` ones came while the customer was dropping."""

    batch_id: str
    digest: bytes
    first_offset: int
    accepted_at: int
    discarded: bool = False


def position(conn: Connection, customer_id: int) -> Position:
    """Raises LookupError for no such customer."""
    query = select(*(dispatch.c[name] for name in Position.__slots__))
    row = conn.execute(query.where(dispatch.c.customer_id == customer_id)).one_or_none()
    if row is None:
        raise LookupError(f"there is no customer {customer_id}")
    return Position(**row._mapping)


def positions(conn: Connection, customer_ids: Sequence[int]) -> dict[int, Position]:
    """Of those of the customers that are there."""
    query = select(*(dispatch.c[name] for name in Position.__slots__))
    rows = conn.execute(query.where(dispatch.c.customer_id.in_(customer_ids)))
    return {row.customer_id: Position(**row._mapping) for row in rows}


def known(conn: Connection, batch_ids: Mapping[int, Sequence[str]]) -> dict[int, dict[str, Known]]:
    """Of each customer's batch ids those that are remembered; both by customer id."""
    found: dict[int, dict[str, Known]] = {of: {} for of in batch_ids}
    pairs = [(of, batch_id) for of, ids in batch_ids.items() for batch_id in ids]
    if not pairs:
        return found
    given: dict[str, object] = {"pairs": json.dumps(pairs)}
    if bulk.is_postgresql(conn):
        given = {"customers": [of for of, _ in pairs], "ids": [batch_id for _, batch_id in pairs]}
    for customer_id, batch_id, digest, state in conn.execute(_KNOWN[conn.dialect.name], given):
        found[customer_id][batch_id] = Known(bytes(digest), state == "discarded")
    return found


def record(
    conn: Connection,
    *,
    customer_id: int,
    epoch: int,
    next_offset_before: int,
    next_offset_after: int,
    window: NewWindow | None,
    batches: Sequence[NewBatch],
    duplicates: int,
    reused: Sequence[NewQuarantine],
    discarded: int,
    expired: int,
    edge: bytes | None = None,
    regained: Sequence[str] = (),
    quarantine_daily_bytes: int,
) -> int | None:
    """Move the cursor and record what it passed; returns the window's id. Part of the caller's transaction.

    `batches` holds the window's batches and those discarded ones whose ids are to be remembered; `reused` is
    quarantined without ever being in a window (as `db.quarantine.rows.add`, with its
    `quarantine_daily_bytes`); `expired` counts the batches lost to retention. A window that holds no batch is
    recorded as deposited: it covers its offsets and needs no work. `edge` is the fingerprint of the last
    message that the cursor passes. `regained` are the ids of those batches of the window that are remembered
    as discarded: from now on as accepted.

    Raises LostLease when epoch or cursor are not as given: then nothing may be committed. Raises ValueError
    when the counts contradict each other.
    """
    accepted = sum(not batch.discarded for batch in batches)
    if accepted != (window.batches if window else 0) or len(batches) - accepted > discarded:
        raise ValueError("the batches given are not those that the window and `discarded` count")
    if next_offset_after <= next_offset_before:
        raise ValueError("the cursor only moves forward")
    # First, so that the row stays locked until the commit and a stale holder writes nothing.
    counts = {
        "batches": accepted + duplicates + len(reused) + discarded + expired,
        "duplicates": duplicates,
        "reused": len(reused),
        "discarded": discarded,
        "expired": expired,
    }
    held: dict[str, object] = {
        "of": customer_id,
        "in_epoch": epoch,
        "before": next_offset_before,
        "after": next_offset_after,
    }
    held |= {"new_edge": edge, **{f"more_{name}": count for name, count in counts.items()}}
    window_id: int | None = None
    if window is not None and not regained and _goes_at_once(conn):
        values = record_at_once.values(_opened(window), batches, window.created_at)
        window_id = conn.execute(_AT_ONCE, held | values).scalar_one_or_none()
        moved = window_id is not None
    else:
        moved = conn.execute(_MOVE, held).rowcount == 1
    if not moved:
        raise LostLease(f"customer {customer_id} has left offset {next_offset_before} or epoch {epoch}")
    if window_id is None:
        if window is not None:
            window_id = conn.execute(_OPEN, {"customer_id": customer_id, **_opened(window)}).scalar_one()
        _forget(conn, customer_id, regained)
        _insert_batches(conn, customer_id, window_id, batches, window.created_at if window else None)
    quarantine.add(conn, customer_id, reused, daily_bytes=quarantine_daily_bytes)
    return window_id


def _goes_at_once(conn: Connection) -> bool:
    return bulk.is_postgresql(conn)


def _opened(window: NewWindow) -> dict[str, object]:
    """The columns of its row, but for the customer's."""
    # The chain is sent after the commit; if we die in between, the window is found stale and rung again.
    values = {name: getattr(window, name) for name in NewWindow.__slots__}
    values |= {"skipped": list(window.skipped), "rung_at": window.created_at, "token": new_token()}
    return values | (_DISPATCHED if window.batches else _EMPTY)


def _forget(conn: Connection, customer_id: int, regained: Sequence[str]) -> None:
    if regained:
        seen = tables.batches.c
        mine = seen.customer_id == customer_id, seen.batch_id.in_(regained), seen.state == "discarded"
        conn.execute(delete(tables.batches).where(*mine))


def _insert_batches(
    conn: Connection,
    customer_id: int,
    window_id: int | None,
    batches: Sequence[NewBatch],
    booked_at: int | None,
) -> None:
    rows = (
        (
            *(customer_id, batch.batch_id, batch.digest, batch.first_offset),
            *(None if batch.discarded else window_id, batch.accepted_at),
            "discarded" if batch.discarded else "accepted",
            booked_at,
        )
        for batch in batches
    )
    bulk.insert_rows(conn, "batches", _BATCHES, rows)

"""Batches and events that could not be taken, kept with the reason and the bytes."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, Literal

from sqlalchemy import ColumnElement, Connection, Select, func, select

from db import bulk
from db.clock import DAY_US
from db.quarantine.budget import spend
from db.tables import quarantine

RowState = Literal["kept", "replaying", "replayed", "discarded"]

_COLUMNS = (
    *("customer_id", "window_id", "stream_offset", "batch_id", "row", "reason", "detail", "format"),
    *("content_encoding", "accepted_at", "bytes", "created_at", "state", "withheld", "sha256"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewQuarantine:
    """`row` None is the whole batch; `bytes` its body as it came, or those of the rejected event."""

    window_id: int | None
    stream_offset: int
    batch_id: str
    row: int | None
    reason: str
    detail: str
    format: str
    content_encoding: str
    accepted_at: int
    created_at: int
    bytes: bytes = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """One row of the listing; the bytes are fetched by `show`.

    `accepted_at`: when the batch came from its agent. `replayed_as`: the batch id under which it was sent
    again, last at `replayed_at`; None when it never was. Times are µs since 1970. `size` counts the bytes
    that are here, `withheld` those that were over the day's budget and are in the raw stream only, with their
    `sha256` in hexadecimal digits; None when they are here, or were discarded.
    """

    id: int
    customer_id: int
    window_id: int | None
    stream_offset: int
    batch_id: str
    row: int | None
    reason: str
    detail: str
    format: str
    content_encoding: str
    accepted_at: int
    created_at: int
    state: RowState
    replayed_as: str | None
    replayed_at: int | None
    withheld: int | None
    sha256: str | None
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Rows of one customer; None and () mean any. `since_us`: when a row came into quarantine, µs."""

    customer_id: int
    states: tuple[RowState, ...] = ()
    reason: str | None = None
    since_us: int | None = None
    ids: tuple[int, ...] = ()

    def conditions(self) -> list[ColumnElement[bool]]:
        """For a WHERE clause."""
        table = quarantine.c
        found: list[ColumnElement[bool]] = [table.customer_id == self.customer_id]
        if self.states:
            found.append(table.state.in_(self.states))
        if self.reason is not None:
            found.append(table.reason == self.reason)
        if self.since_us is not None:
            found.append(table.created_at >= self.since_us)
        if self.ids:
            found.append(table.id.in_(self.ids))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How many rows there are, the sum of their bytes, and the highest id (0: none)."""

    rows: int
    size: int
    newest_id: int


def add(
    conn: Connection, customer_id: int, rows: Sequence[NewQuarantine], *, daily_bytes: int
) -> list[NewQuarantine]:
    """Keep them; part of the transaction that books their batches, so that a repeat keeps nothing twice.

    Returns those whose bytes are not kept, since the customer's day has had its `daily_bytes`, or as many as
    its own limit says.
    """
    withheld: list[NewQuarantine] = []
    made = []
    for day, group in groupby(sorted(rows, key=_day), key=_day):
        some = list(group)
        sizes = [len(row.bytes) for row in some]
        for row, fits in zip(some, spend(conn, customer_id, day, sizes, daily_bytes), strict=True):
            made.append(_values(customer_id, row, fits))
            if not fits:
                withheld.append(row)
    if made:
        bulk.insert_rows(conn, "quarantine", _COLUMNS, made)
    return withheld


def listing(
    conn: Connection,
    customer_id: int,
    *,
    reason: str | None = None,
    state: RowState | None = None,
    before_id: int | None = None,
    limit: int = 100,
) -> list[Quarantined]:
    """Newest first; page on with `before_id`."""
    chosen = Selection(customer_id=customer_id, reason=reason, states=(state,) if state else ())
    query: Select[*tuple[Any, ...]] = select(*listed()).where(*chosen.conditions())
    if before_id is not None:
        query = query.where(quarantine.c.id < before_id)
    rows = conn.execute(query.order_by(quarantine.c.id.desc()).limit(limit))
    return [Quarantined(**row._mapping) for row in rows]


def extent(conn: Connection, selection: Selection) -> Extent:
    """Looks at every selected row, but not at its bytes."""
    sums = select(
        func.count(), func.coalesce(func.sum(func.length(quarantine.c.bytes)), 0), func.max(quarantine.c.id)
    )
    rows, size, newest = conn.execute(sums.where(*selection.conditions())).one()
    return Extent(rows=rows, size=int(size), newest_id=newest or 0)


def following(
    conn: Connection, selection: Selection, *, after_id: int, upto_id: int, limit: int
) -> list[Quarantined]:
    """Selected rows above one id up to another, oldest first."""
    query: Select[*tuple[Any, ...]] = select(*listed()).where(
        *selection.conditions(), quarantine.c.id > after_id, quarantine.c.id <= upto_id
    )
    rows = conn.execute(query.order_by(quarantine.c.id).limit(limit))
    return [Quarantined(**row._mapping) for row in rows]


def contents(conn: Connection, row_ids: Sequence[int]) -> dict[int, bytes]:
    """The bytes of these rows, by id."""
    query = select(quarantine.c.id, quarantine.c.bytes).where(quarantine.c.id.in_(row_ids))
    return {row.id: bytes(row.bytes) for row in conn.execute(query)}


def show(conn: Connection, quarantine_id: int) -> tuple[Quarantined, bytes] | None:
    """The row and its bytes."""
    query: Select[*tuple[Any, ...]] = select(*listed(), quarantine.c.bytes).where(
        quarantine.c.id == quarantine_id
    )
    row = conn.execute(query).one_or_none()
    if row is None:
        return None
    values = dict(row._mapping)
    data = bytes(values.pop("bytes"))
    return Quarantined(**values), data


def listed() -> list[ColumnElement[Any]]:
    """The columns of a `Quarantined`."""
    columns: list[ColumnElement[Any]] = [
        quarantine.c[name] for name in Quarantined.__slots__ if name != "size"
    ]
    return [*columns, func.length(quarantine.c.bytes).label("size")]


def _day(row: NewQuarantine) -> int:
    return row.created_at // DAY_US


def _values(customer_id: int, row: NewQuarantine, fits: bool) -> tuple[object, ...]:
    # PostgreSQL's text cannot hold NUL.
    return (
        *(customer_id, row.window_id, row.stream_offset, row.batch_id.replace("\0", "\ufffd"), row.row),
        *(row.reason, row.detail.replace("\0", "\ufffd"), row.format, row.content_encoding),
        *(row.accepted_at, row.bytes if fits else b"", row.created_at, "kept"),
        *((None, None) if fits else (len(row.bytes), hashlib.sha256(row.bytes).hexdigest())),
    )

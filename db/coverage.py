"""What `flask verify` holds against the stream: which offsets lie in which window, which batch was booked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, func, select

from db.tables import batches, folded, quarantine, windows

_ROWS_AT_ONCE = 1_000
_IDS_AT_ONCE = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A window's offsets, the ends included; a window that was split is represented by its parts."""

    window_id: int
    first_offset: int
    last_offset: int
    skipped: frozenset[int]
    batches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Booked:
    """The first batch that came under an id."""

    digest: bytes
    first_offset: int
    window_id: int | None
    state: Literal["accepted", "discarded"]


def spans(conn: Connection, customer_id: int, from_offset: int) -> Iterator[Span]:
    """The windows that end at or after `from_offset` by their offsets, fetched as they are asked for."""
    names = ("id", "first_offset", "last_offset", "skipped", "batches")
    query = (
        select(*(windows.c[name] for name in names))
        .where(
            windows.c.customer_id == customer_id,
            windows.c.last_offset >= from_offset,
            windows.c.state != "split",
        )
        .order_by(windows.c.first_offset, windows.c.id)
    )
    for row in conn.execution_options(yield_per=_ROWS_AT_ONCE).execute(query):
        yield Span(
            window_id=row.id,
            first_offset=row.first_offset,
            last_offset=row.last_offset,
            skipped=frozenset(row.skipped),
            batches=row.batches,
        )


def windows_pruned(conn: Connection, customer_id: int) -> int:
    """How many deposited windows are only remembered as sums."""
    sums = select(folded.c.windows, folded.c.upto_window_id).where(folded.c.customer_id == customer_id)
    total, upto = conn.execute(sums).one()
    there = select(func.count()).where(
        windows.c.customer_id == customer_id, windows.c.id <= upto, windows.c.state == "deposited"
    )
    return int(total) - int(conn.execute(there).scalar_one())


def booked(conn: Connection, customer_id: int, batch_ids: Sequence[str]) -> dict[str, Booked]:
    """What is remembered of these batch ids."""
    found: dict[str, Booked] = {}
    names = ("batch_id", "digest", "first_offset", "window_id", "state")
    query = select(*(batches.c[name] for name in names)).where(batches.c.customer_id == customer_id)
    for start in range(0, len(batch_ids), _IDS_AT_ONCE):
        some = batch_ids[start : start + _IDS_AT_ONCE]
        for row in conn.execute(query.where(batches.c.batch_id.in_(some))):
            found[row.batch_id] = Booked(
                digest=bytes(row.digest),
                first_offset=row.first_offset,
                window_id=row.window_id,
                state=row.state,
            )
    return found


def quarantined(conn: Connection, customer_id: int, first: int, last: int) -> set[int]:
    """The offsets from first to last whose whole batch is in quarantine."""
    query = select(quarantine.c.stream_offset).where(
        quarantine.c.customer_id == customer_id,
        quarantine.c.row.is_(None),
        quarantine.c.stream_offset.between(first, last),
    )
    return set(conn.execute(query).scalars())


def quarantine_pruned_below(conn: Connection, customer_id: int) -> int:
    """Below this offset a whole batch may have been in quarantine and be forgotten."""
    query = select(folded.c.quarantine_pruned_below).where(folded.c.customer_id == customer_id)
    return int(conn.execute(query).scalar_one())

"""What `flask verify` holds against the stream: which offsets lie in which window, which batch was booked."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, TypeVar

from sqlalchemy import ColumnElement, Connection, Row, Select, func, select

from db.ledger.generations import Generation, history, valid_below
from db.tables import batches, folded, quarantine, windows

T = TypeVar("T")
_ROWS_AT_ONCE = 500
_IDS_AT_ONCE = 500
_COLUMNS = tuple(
    windows.c[name] for name in ("id", "first_offset", "last_offset", "skipped", "batches", "state")
)
# Whether a window was recorded by a dispatcher, and is no part of another.
_RECORDED = windows.c.parent_id.is_(None)
_BOOKED = select(*(batches.c[name] for name in ("batch_id", "digest", "first_offset", "window_id", "state")))


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowOffsets:
    """A window's offsets, the ends included; a window that was split is represented by its parts.

    `batches`: None where the window held more than the stream still has of it.
    """

    window_id: int
    first_offset: int
    last_offset: int
    skipped: frozenset[int]
    batches: int | None


class Booked(NamedTuple):
    """The first batch that came under an id. `elsewhere`: its offset is one of another stream of the name."""

    digest: bytes
    first_offset: int
    window_id: int | None
    state: Literal["accepted", "discarded"]
    elsewhere: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSlice:
    """The windows that hold any of some offsets, in their order. `reached`: where the next slice begins."""

    windows: Sequence[WindowOffsets]
    reached: int


def start(conn: Connection, customer_id: int, generation: int, offset: int) -> int:
    """The id of the generation's newest recorded window that begins at or before the offset, 0 for none.

    Windows are recorded in the order of their offsets, so their ids are bisected: some thirty look-ups.
    """
    mine = windows.c.customer_id == customer_id, windows.c.generation == generation
    low = 0
    high: int = conn.execute(select(func.max(windows.c.id)).where(*mine)).scalar_one() or 0
    next_one = select(windows.c.id, windows.c.first_offset).where(*mine, _RECORDED).order_by(windows.c.id)
    while low < high:
        middle = (low + high + 1) // 2
        row = conn.execute(next_one.where(windows.c.id >= middle).limit(1)).one_or_none()
        if row is None or row.first_offset > offset:
            high = middle - 1
        else:
            low = row.id
    return low


def window_slice(
    conn: Connection, customer_id: int, generation: int, first: int, last: int, *, reached: int
) -> WindowSlice:
    """The generation's windows that hold any of the offsets first..last; a split one's parts in place of it.

    `reached` is from `start` or the slice before. All of it is of one snapshot, since windows are split.
    """
    found = []
    for row in _recorded(conn, customer_id, generation, reached):
        if row.first_offset > last:
            break
        reached = row.id
        if row.state != "split" and row.last_offset >= first:
            found.append(_window_offsets(row))
    parts = select(*_COLUMNS).where(
        windows.c.customer_id == customer_id,
        windows.c.generation == generation,
        windows.c.parent_id.is_not(None),
        windows.c.first_offset <= last,
        windows.c.last_offset >= first,
        windows.c.state != "split",
    )
    found += map(_window_offsets, conn.execute(parts))
    return WindowSlice(
        windows=sorted(found, key=lambda one: (one.first_offset, one.window_id)), reached=reached
    )


def _recorded(conn: Connection, customer_id: int, generation: int, from_id: int) -> Iterator[Row[Any]]:
    """Windows as they were recorded, from that id on, a page at a time."""
    mine = windows.c.customer_id == customer_id, windows.c.generation == generation
    page = select(*_COLUMNS).where(*mine, _RECORDED).order_by(windows.c.id)
    while True:
        rows = conn.execute(page.where(windows.c.id >= from_id).limit(_ROWS_AT_ONCE)).all()
        yield from rows
        if len(rows) < _ROWS_AT_ONCE:
            return
        from_id = rows[-1].id + 1


def _window_offsets(row: Row[Any]) -> WindowOffsets:
    return WindowOffsets(
        window_id=row.id,
        first_offset=row.first_offset,
        last_offset=row.last_offset,
        skipped=frozenset(row.skipped),
        batches=row.batches,
    )


def provable_from(conn: Connection, customer_id: int) -> int:
    """The offset below which no window speaks of the stream as it is: where the last replacement began."""
    return max((one.from_offset for one in history(conn, customer_id) if one.kind == "replaced"), default=0)


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
    mine = _BOOKED.where(batches.c.customer_id == customer_id)
    past = history(conn, customer_id)
    found: dict[str, Booked] = {}
    for some in _portions(batch_ids):
        ids = batches.c.batch_id.in_(some)
        found |= _booked(conn, mine.where(ids))
        for batch_id in _elsewhere(conn, customer_id, past, ids) if past else ():
            found[batch_id] = found[batch_id]._replace(elsewhere=True)
    return found


def _elsewhere(
    conn: Connection, customer_id: int, past: Sequence[Generation], ids: ColumnElement[bool]
) -> Iterator[str]:
    """Those of the batch ids whose window speaks of another stream at their offset."""
    query = select(batches.c.batch_id, batches.c.first_offset, windows.c.generation)
    joined = query.join(windows, windows.c.id == batches.c.window_id)
    for row in conn.execute(joined.where(batches.c.customer_id == customer_id, ids)).all():
        below = valid_below(past, row.generation)
        if below is not None and row.first_offset >= below:
            yield row.batch_id


def booked_in(
    conn: Connection, customer_id: int, window_ids: Sequence[int], first: int, last: int
) -> dict[str, Booked]:
    """The batches of these windows that are booked at the offsets first..last, by their ids.

    They lie together, where the look-up of each id touches a page of its own.
    """
    mine = _BOOKED.where(batches.c.customer_id == customer_id, batches.c.first_offset.between(first, last))
    found: dict[str, Booked] = {}
    for some in _portions(window_ids):
        found |= _booked(conn, mine.where(batches.c.window_id.in_(some)))
    return found


def quarantined(conn: Connection, customer_id: int, batch_ids: Sequence[str]) -> set[int]:
    """The offsets at which whole batches with these ids came into quarantine."""
    query = select(quarantine.c.stream_offset).where(
        quarantine.c.customer_id == customer_id, quarantine.c.row.is_(None)
    )
    found: set[int] = set()
    for some in _portions(batch_ids):
        found.update(conn.execute(query.where(quarantine.c.batch_id.in_(some))).scalars())
    return found


def quarantined_between(conn: Connection, customer_id: int, first: int, last: int) -> set[int]:
    """The offsets from first to last whose whole batch is in quarantine; reads all the customer's rows."""
    query = select(quarantine.c.stream_offset).where(
        quarantine.c.customer_id == customer_id,
        quarantine.c.row.is_(None),
        quarantine.c.stream_offset.between(first, last),
    )
    return set(conn.execute(query).scalars())


def _booked(conn: Connection, query: Select[Any]) -> dict[str, Booked]:
    return {row.batch_id: Booked(*row[1:]) for row in conn.execute(query).all()}


def _portions(values: Sequence[T]) -> Iterator[Sequence[T]]:
    return (values[start : start + _IDS_AT_ONCE] for start in range(0, len(values), _IDS_AT_ONCE))


def quarantine_pruned_below(conn: Connection, customer_id: int) -> int:
    """Below this offset a whole batch may have been in quarantine and be forgotten."""
    query = select(folded.c.quarantine_pruned_below).where(folded.c.customer_id == customer_id)
    return int(conn.execute(query).scalar_one())

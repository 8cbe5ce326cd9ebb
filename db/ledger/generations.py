"""Generations of a customer's raw stream: which windows' offsets still mean what they meant.

A stream that was replaced, or that lost its end, gives its offsets out again. Each time that is found, the
customer's dispatch goes on in a new generation, from an offset on: `cut` when what lies below that offset is
what was booked there, `replaced` when nothing is. A window of an earlier generation speaks of the stream as
it is only below the lowest `from_offset` of all later ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select, update

from db.errors import LostLease
from db.ledger.windows import IS_OPEN, new_token, open_ids
from db.tables import batches, customers, dispatch, generations, windows

Kind = Literal["cut", "replaced"]

_EMPTY = dict.fromkeys(("decoded", "kept", "dropped", "rejected", "quarantined"), 0)
_BEGIN = (
    update(dispatch)
    .where(
        dispatch.c.customer_id == bindparam("of"),
        dispatch.c.epoch == bindparam("in_epoch"),
        dispatch.c.next_offset == bindparam("before"),
    )
    .values(
        next_offset=bindparam("after"),
        generation=dispatch.c.generation + 1,
        edge=bindparam("new_edge"),
        base_offset=bindparam("after"),
        base_batches=dispatch.c.batches,
        expired=dispatch.c.expired + bindparam("lost"),
    )
    .returning(dispatch.c.generation)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One that began with a cut or a replaced stream; the first of a customer, 0, has no row.

    `from_offset`: where it begins to read. `cursor_before`: how far the one before had read. `expired`:
    batches of open windows that were lost. `began_at`: µs since 1970, 0 for one of an earlier revision.
    """

    generation: int
    kind: Kind
    from_offset: int
    cursor_before: int
    expired: int
    began_at: int


class Recorded(NamedTuple):
    """A window as it was recorded, whatever became of it since; offsets are inclusive."""

    id: int
    first_offset: int
    last_offset: int
    fingerprints: bytes | None

    def fingerprint(self, offset: int) -> bytes | None:
        """Of the message that was at the offset; None where it is not known."""
        if self.fingerprints is None:
            return None
        width = len(self.fingerprints) // (self.last_offset + 1 - self.first_offset)
        start = (offset - self.first_offset) * width
        return self.fingerprints[start : start + width]


class WindowLoss(NamedTuple):
    """What an open window lost."""

    window_id: int
    offsets: Sequence[int]


def history(conn: Connection, customer_id: int) -> list[Generation]:
    """Oldest first; empty for a stream that was never cut or replaced."""
    query = select(*(generations.c[name] for name in Generation.__slots__))
    rows = conn.execute(query.where(generations.c.customer_id == customer_id).order_by("generation"))
    return [Generation(**row._mapping) for row in rows]


def everyones(conn: Connection) -> dict[int, list[Generation]]:
    """The history of each customer that has one."""
    query = select(generations.c.customer_id, *(generations.c[name] for name in Generation.__slots__))
    found: dict[int, list[Generation]] = {}
    for customer_id, *values in conn.execute(query.order_by("customer_id", "generation")):
        one = Generation(**dict(zip(Generation.__slots__, values, strict=True)))
        found.setdefault(customer_id, []).append(one)
    return found


def valid_below(past: Sequence[Generation], generation: int) -> int | None:
    """The offset below which windows of that generation speak of the stream as it is; None: all do."""
    later = [one for one in past if one.generation > generation]
    return min((0 if one.kind == "replaced" else one.from_offset for one in later), default=None)


class Stretch(NamedTuple):
    """Offsets, the ends included, of which the windows of one generation speak."""

    generation: int
    first: int
    last: int


def stretches(past: Sequence[Generation], first: int, end: int) -> list[Stretch]:
    """Which generation's windows speak of the offsets from `first` to below `end`, in the offsets' order."""
    found: list[Stretch] = []
    while first < end:
        generation = max((one.generation for one in past if one.from_offset <= first), default=0)
        below = min((one.from_offset for one in past if one.from_offset > first), default=end)
        found.append(Stretch(generation, first, min(below, end) - 1))
        first = below
    return found


def ids(conn: Connection, customer_id: int, generation: int) -> tuple[int, int] | None:
    """The ids of the first and the last window of the generation; None when none is remembered."""
    query = select(func.min(windows.c.id), func.max(windows.c.id))
    mine = windows.c.customer_id == customer_id, windows.c.generation == generation
    first, last = conn.execute(query.where(*mine, windows.c.parent_id.is_(None))).one()
    return None if first is None else (first, last)


def recorded(
    conn: Connection, customer_id: int, generation: int, window_id: int, *, at_or_after: bool = False
) -> Recorded | None:
    """The window of that generation with this id or the nearest one below it (above it); parts are none.

    In the order of their ids these windows cover the stream upwards.
    """
    mine = (
        windows.c.customer_id == customer_id,
        windows.c.generation == generation,
        windows.c.parent_id.is_(None),
    )
    names = select(*(windows.c[name] for name in Recorded._fields)).where(*mine).limit(1)
    if at_or_after:
        query = names.where(windows.c.id >= window_id).order_by(windows.c.id)
    else:
        query = names.where(windows.c.id <= window_id).order_by(windows.c.id.desc())
    row = conn.execute(query).one_or_none()
    return None if row is None else Recorded(*row)


def booked(conn: Connection, window_id: int, offset: int) -> tuple[str, bytes, int] | None:
    """Id, digest and time of acceptance (µs) of the batch that was booked there; None where none is known."""
    query = select(batches.c.batch_id, batches.c.digest, batches.c.accepted_at)
    row = conn.execute(
        query.where(batches.c.window_id == window_id, batches.c.first_offset == offset).limit(1)
    ).one_or_none()
    return None if row is None else (row.batch_id, bytes(row.digest), row.accepted_at)


def lost(conn: Connection, customer_id: int, kind: Kind, from_offset: int) -> list[WindowLoss]:
    """What the customer's open windows will have lost when a generation begins so; they are locked."""
    found = []
    for row in _locked(conn, customer_id):
        skipped = set(row.skipped)
        lowest = row.first_offset if kind == "replaced" else max(row.first_offset, from_offset)
        offsets = [offset for offset in range(lowest, row.last_offset + 1) if offset not in skipped]
        if offsets:
            found.append(WindowLoss(row.id, offsets))
    return found


def _locked(conn: Connection, customer_id: int) -> Sequence[Row[int, int, int, Any]]:
    """The customer's open windows by id, locked, so that nobody closes one of them until the commit.

    PostgreSQL waits for a split that is under way, then leaves the window out and does not see its parts:
    those are in the next statement's snapshot.
    """
    query = select(windows.c.id, windows.c.first_offset, windows.c.last_offset, windows.c.skipped)
    mine = query.where(IS_OPEN, windows.c.customer_id == customer_id)
    while True:
        rows = conn.execute(mine.order_by(windows.c.id).with_for_update()).all()
        if {row.id for row in rows} == open_ids(conn, [customer_id]).get(customer_id, set()):
            return rows


def begin(
    conn: Connection,
    *,
    customer_id: int,
    epoch: int,
    kind: Kind,
    before: int,
    after: int,
    edge: bytes | None,
    now_us: int,
) -> Generation:
    """Begin a generation: move the cursor to `after`, and book what open windows lost as expired.

    A window that lost all that it held is closed; one that lost a part goes on without it, under a new token,
    so that results which are on their way count no more. The lost batches' ids are forgotten: sent again,
    they count. `edge` is the fingerprint of the message before `after`.

    Part of the caller's transaction. Raises LostLease when epoch or cursor are not as given.
    """
    gone = lost(conn, customer_id, kind, after)
    expired = sum(len(one.offsets) for one in gone)
    held = {"of": customer_id, "in_epoch": epoch, "before": before}
    moved = conn.execute(_BEGIN, held | {"after": after, "new_edge": edge, "lost": expired})
    generation: int | None = moved.scalar_one_or_none()
    if generation is None:
        raise LostLease(f"customer {customer_id} has left offset {before} or epoch {epoch}")
    for one in gone:
        _take_out(conn, one, now_us)
    _forget(conn, customer_id, gone, kind, after)
    begun = Generation(
        generation=generation,
        kind=kind,
        from_offset=after,
        cursor_before=before,
        expired=expired,
        began_at=now_us,
    )
    values = {name: getattr(begun, name) for name in Generation.__slots__}
    conn.execute(insert(generations).values(customer_id=customer_id, **values))
    return begun


def _take_out(conn: Connection, gone: WindowLoss, now_us: int) -> None:
    """Leave the offsets out of the window, as if there had been nothing to do at them."""
    at = windows.c.id == gone.window_id
    row = conn.execute(select(windows.c.skipped, windows.c.batches, windows.c.bytes).where(at)).one()
    left = row.batches - len(gone.offsets)
    values: dict[str, Any] = {
        "skipped": sorted([*row.skipped, *gone.offsets]),
        "batches": left,
        "bytes": row.bytes * left // row.batches,
        "token": new_token(),
    }
    if not left:
        values |= {"state": "deposited", "deposited_at": now_us, **_EMPTY}
    conn.execute(update(windows).where(at).values(values))


def _forget(conn: Connection, customer_id: int, gone: Sequence[WindowLoss], kind: Kind, after: int) -> None:
    """Forget the ids of lost batches, and of discarded ones that were where others may be now."""
    for one in gone:
        conn.execute(
            delete(batches).where(
                batches.c.window_id == one.window_id, batches.c.first_offset >= one.offsets[0]
            )
        )
    discarded = batches.c.customer_id == customer_id, batches.c.window_id.is_(None)
    if kind == "cut":
        conn.execute(delete(batches).where(*discarded, batches.c.first_offset >= after))
    else:
        conn.execute(delete(batches).where(*discarded))
    # Failures were accepted up to an offset of the stream of before.
    accepted = customers.c.failures_accepted_upto
    change = update(customers).where(customers.c.id == customer_id)
    if kind == "cut":
        conn.execute(change.where(accepted >= after).values(failures_accepted_upto=after - 1))
    else:
        conn.execute(change.values(failures_accepted_upto=None))

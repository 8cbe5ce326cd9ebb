"""Windows on their way: opened by a record, closed by a deposit or by being split."""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    bindparam,
    func,
    insert,
    literal_column,
    select,
    text,
    update,
)

from db import bulk
from db.customers.rows import DELETING, Stage
from db.errors import LostRace
from db.tables import batches, customers, pipelines, windows

Fingerprints = bytes
"""Of consecutive messages of a stream, 8 bytes each."""

WindowState = Literal["dispatched", "deposited", "split"]

# A literal and not a parameter, so that the partial index of open windows matches.
IS_OPEN: ColumnElement[bool] = windows.c.state == literal_column("'dispatched'")

_PINNED = (pipelines.c.customer_id == windows.c.customer_id) & (
    pipelines.c.version == windows.c.pipeline_version
)
_WORK: Select[Any] = (
    select(
        *windows.c,
        *(customers.c.slug, customers.c.routes, customers.c.breaker_reason),
        *(customers.c.state.label("of_state"), pipelines.c.definition),
    )
    .join(customers, customers.c.id == windows.c.customer_id)
    .outerjoin(pipelines, _PINNED)
)
_ONE = _WORK.where(windows.c.id == bindparam("window"))

# One parameter for all customers: a statement with one for each takes longer to build than to run.
_OPEN_IDS = {
    "postgresql": text(
        "SELECT customer_id, id FROM windows WHERE state = 'dispatched' AND customer_id = ANY(:of)"
    ),
    "sqlite": text(
        "SELECT customer_id, id FROM windows WHERE state = 'dispatched'"
        " AND customer_id IN (SELECT value FROM json_each(:of))"
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Offsets are inclusive; `batches` and `bytes` are without the skipped ones.

    `token` is random: results that carry another are those of a window of this id in another database, of
    before a backup was restored perhaps.
    `fingerprints`: those of the messages from the first offset to the last, 8 bytes each, as they were when
    the window was recorded, in that `generation` of the stream; None for a window of an earlier revision.
    From `decoded` on None until the deposit, then events; only `quarantined` counts batches, and `kept_logs`
    the log records among the kept events. For `deliveries`, `deaths`, `cause` and `tried_by` see
    `db.ledger.bad_ends`; the breaker looks at `failures`.
    """

    id: int
    customer_id: int
    first_offset: int
    last_offset: int
    skipped: list[int]
    batches: int
    bytes: int
    pipeline_version: int
    state: WindowState
    parent_id: int | None
    created_at: int
    rung_at: int
    rings: int
    deliveries: int
    token: int
    first_accepted_at: int
    last_accepted_at: int
    deposited_at: int | None
    decoded: int | None
    kept: int | None
    kept_logs: int | None
    dropped: int | None
    rejected: int | None
    quarantined: int | None
    deaths: int
    cause: str | None
    tried_by: str | None
    failures: Mapping[str, int] | None
    generation: int
    fingerprints: Fingerprints | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What a window is split into; offsets are inclusive. A part may begin with what is held against it."""

    first_offset: int
    last_offset: int
    skipped: Sequence[int]
    batches: int
    bytes: int
    deliveries: int = 0
    deaths: int = 0
    cause: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A window with what a worker has to know of its customer; `pipeline` is the pinned definition's text.

    It is `due` while it is open and its customer's breaker is closed.
    """

    window: Window
    slug: str
    routes: Mapping[Stage, str]
    pipeline: str
    due: bool


def new_token() -> int:
    return secrets.randbits(63)


def get(conn: Connection, window_id: int) -> Window | None:
    found = _select(conn, windows.c.id == window_id)
    return found[0] if found else None


def work(conn: Connection, window_id: int) -> Work | None:
    """The window in any state; None for none, or one of a customer that is being deleted. Raises LookupError
    when its pipeline version is missing.
    """
    row = conn.execute(_ONE, {"window": window_id}).one_or_none()
    return None if row is None else _work(row)


def works(conn: Connection, window_ids: Sequence[int]) -> list[Work]:
    """As `work` for each of them that is there, in the order of their ids."""
    rows = conn.execute(_WORK.where(windows.c.id.in_(window_ids)).order_by(windows.c.id))
    return [found for row in rows if (found := _work(row)) is not None]


def _work(row: Any) -> Work | None:
    *columns, slug, routes, breaker_reason, of_state, definition = row
    if of_state == DELETING:
        return None
    if definition is None:
        raise LookupError(f"the pipeline version of window {row.id} is missing")
    window = Window(**dict(zip(windows.c.keys(), columns, strict=True)))
    due = window.state == "dispatched" and breaker_reason is None
    return Work(window=window, slug=slug, routes=routes, pipeline=definition, due=due)


def open_ids(conn: Connection, customer_ids: Sequence[int]) -> dict[int, set[int]]:
    """The open windows of each of the customers that has any."""
    of: object = list(customer_ids) if bulk.is_postgresql(conn) else json.dumps(list(customer_ids))
    found: dict[int, set[int]] = {}
    for customer_id, window_id in conn.execute(_OPEN_IDS[conn.dialect.name], {"of": of}):
        found.setdefault(customer_id, set()).add(window_id)
    return found


def yields(conn: Connection, *, newest: int = 1000) -> dict[int, tuple[int, int]]:
    """(events decoded, bytes as accepted) of each customer in the newest deposited windows."""
    recent = (
        select(windows.c.customer_id, windows.c.decoded, windows.c.bytes)
        .where(windows.c.deposited_at.is_not(None))
        .order_by(windows.c.deposited_at.desc())
        .limit(newest)
        .subquery()
    )
    sums = select(recent.c.customer_id, func.sum(recent.c.decoded), func.sum(recent.c.bytes))
    rows = conn.execute(sums.group_by(recent.c.customer_id))
    return {customer_id: (int(events), int(size)) for customer_id, events, size in rows}


def open(conn: Connection, customer_id: int) -> list[Window]:  # noqa: A001 (read as `windows.open`)
    """Those dispatched and not yet deposited, oldest first."""
    return _select(conn, IS_OPEN, windows.c.customer_id == customer_id)


def stale(conn: Connection, customer_id: int, before_us: int) -> list[Window]:
    """Open windows whose bell was last rung before that time, oldest first."""
    return _select(conn, IS_OPEN, windows.c.customer_id == customer_id, windows.c.rung_at < before_us)


def note_ring(conn: Connection, window_ids: Sequence[int], now_us: int) -> None:
    """Write down that their bells were rung again."""
    change = update(windows).where(windows.c.id.in_(window_ids))
    conn.execute(change.values(rung_at=now_us, rings=windows.c.rings + 1))


def split(conn: Connection, window_id: int, parts: Sequence[Part]) -> list[int]:
    """Replace an open window by parts that hold the same batches; returns the parts' ids in order.

    The parts are rung by whoever looks for stale windows next. Raises LostRace when somebody else split or
    deposited the window, or its customer is being deleted, ValueError when the parts' batches do not add up.
    """
    # Locked until the commit: the deletion of the customer comes after it, and finds the parts, or before it.
    of = select(windows.c.customer_id).where(windows.c.id == window_id).scalar_subquery()
    owner = select(customers.c.state).where(customers.c.id == of).with_for_update(read=True, key_share=True)
    if conn.execute(owner).scalar_one_or_none() in (None, DELETING):
        raise LostRace(f"the customer of window {window_id} is gone")
    closed = conn.execute(
        update(windows).where(windows.c.id == window_id, IS_OPEN).values(state="split").returning(*windows.c)
    ).one_or_none()
    if closed is None:
        raise LostRace(f"window {window_id} is not open")
    if sum(part.batches for part in parts) != closed.batches:
        raise ValueError("the parts do not hold the window's batches")
    return [_insert_part(conn, closed._mapping, part) for part in parts]


def _insert_part(conn: Connection, parent: Any, part: Part) -> int:
    inherited = (
        *("customer_id", "generation", "pipeline_version"),
        *("created_at", "first_accepted_at", "last_accepted_at"),
    )
    values = {name: parent[name] for name in inherited} | {
        "fingerprints": _slice(parent, part),
        "first_offset": part.first_offset,
        "last_offset": part.last_offset,
        "skipped": list(part.skipped),
        "batches": part.batches,
        "bytes": part.bytes,
        "state": "dispatched",
        "parent_id": parent["id"],
        "deliveries": part.deliveries,
        "deaths": part.deaths,
        "cause": part.cause,
        "rung_at": 0,
        "token": new_token(),
    }
    part_id: int = conn.execute(insert(windows).values(values).returning(windows.c.id)).scalar_one()
    conn.execute(
        update(batches)
        .where(
            batches.c.window_id == parent["id"],
            batches.c.first_offset.between(part.first_offset, part.last_offset),
        )
        .values(window_id=part_id)
    )
    return part_id


def _slice(parent: Any, part: Part) -> bytes | None:
    """The fingerprints of the part's offsets."""
    whole: bytes | None = parent["fingerprints"]
    if whole is None:
        return None
    width = len(whole) // (parent["last_offset"] + 1 - parent["first_offset"])
    first, last = (offset - parent["first_offset"] for offset in (part.first_offset, part.last_offset))
    return bytes(whole)[first * width : (last + 1) * width]


def _select(conn: Connection, *conditions: ColumnElement[bool]) -> list[Window]:
    rows = conn.execute(select(*windows.c).where(*conditions).order_by(windows.c.id))
    return [Window(**row._mapping) for row in rows]

"""What is held against a window: deliveries to a worker of which no good end is known.

A first delivery is not counted, so that it costs nothing. Each later one, and each of a part of a window
that was split for this reason, is counted before its work begins (`deliveries`) and taken back when it ends
well or for an external reason, such as a database that is away. Of some the worker knows for sure that the
window's own content ended them: these are *deaths*, with the last one's `cause`.
"""

from typing import Any, NamedTuple

from sqlalchemy import Connection, func, update

from db.errors import LostRace
from db.ledger.windows import IS_OPEN
from db.tables import windows


class BadEnds(NamedTuple):
    """`deliveries` includes the one that was just counted."""

    deliveries: int
    deaths: int
    cause: str | None


def count(conn: Connection, window_id: int, *, died_of: str | None, tried_by: str | None = None) -> BadEnds:
    """Count a delivery that begins now; `died_of` is the cause of the death that ended the one before.

    `tried_by` names a deposit that takes this window alone, see `died_trying`. Raises LostRace for a window
    that is not open any more.
    """
    changes: dict[str, Any] = {"deliveries": windows.c.deliveries + 1}
    if died_of is not None:
        changes |= {"deaths": windows.c.deaths + 1, "cause": died_of}
    if tried_by is not None:
        changes["tried_by"] = func.coalesce(windows.c.tried_by, "") + _name(tried_by)
    held = (windows.c.deliveries, windows.c.deaths, windows.c.cause)
    change = update(windows).where(windows.c.id == window_id, IS_OPEN).values(changes)
    row = conn.execute(change.returning(*held)).one_or_none()
    if row is None:
        raise LostRace(f"window {window_id} is not open")
    return BadEnds(*row)


def take_back(conn: Connection, window_id: int, tried_by: str | None = None) -> None:
    """A counted delivery ended well, or for an external reason: it is not held against the window."""
    changes: dict[str, Any] = {"deliveries": windows.c.deliveries - 1}
    if tried_by is not None:
        changes["tried_by"] = func.replace(windows.c.tried_by, _name(tried_by), "")
    change = update(windows).where(windows.c.id == window_id, IS_OPEN, windows.c.deliveries > 0)
    conn.execute(change.values(changes))


def died_trying(conn: Connection, customer_id: int, tried_by: str, cause: str) -> None:
    """The deposit of that name died: if it was at a window alone, it died of that window's content.

    Several may be at the same window at once, and each says so for itself.
    """
    name = _name(tried_by)
    mine = windows.c.tried_by.contains(name, autoescape=True)
    change = update(windows).where(windows.c.customer_id == customer_id, IS_OPEN, mine)
    rest = func.replace(windows.c.tried_by, name, "")
    conn.execute(change.values(deaths=windows.c.deaths + 1, cause=cause, tried_by=rest))


def _name(tried_by: str) -> str:
    return f"{tried_by} "

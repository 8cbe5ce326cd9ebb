"""Folding: the sums of a customer's oldest windows go into one row; the books never add up millions."""

from sqlalchemy import BindParameter, Connection, bindparam, func, select, text, update

from db.errors import LostRace
from db.ledger.windows import IS_OPEN
from db.tables import dispatch, folded, windows

_SUMS = ("batches", "decoded", "kept", "kept_logs", "dropped", "rejected", "quarantined")
_SUM = {
    dialect: text(
        f"SELECT COUNT(*) AS windows, {', '.join(f'COALESCE(SUM({name}), 0) AS {name}' for name in _SUMS)}"  # noqa: S608
        f" FROM windows {hint} WHERE customer_id = :of AND id > :above AND id <= :upto"
        " AND state = 'deposited'"
    )
    # SQLite would rather walk everybody's windows by id.
    for dialect, hint in (("postgresql", ""), ("sqlite", "INDEXED BY ix_windows_customer_id_id"))
}
# Built once: to build a statement takes longer than to run it.
_OF: BindParameter[int] = bindparam("of")
_LOCK = select(dispatch.c.customer_id).where(dispatch.c.customer_id == _OF).with_for_update()
_BEFORE = select(folded.c.upto_window_id).where(folded.c.customer_id == _OF)
_OLDEST_OPEN = select(func.min(windows.c.id)).where(windows.c.customer_id == _OF, IS_OPEN)
_NEWEST = select(func.max(windows.c.id))
_ADD = (
    update(folded)
    .where(folded.c.customer_id == _OF, folded.c.upto_window_id == bindparam("above"))
    .values(
        {"upto_window_id": bindparam("upto")}
        | {name: folded.c[name] + bindparam(f"more_{name}") for name in ("windows", *_SUMS)}
    )
)


def fold(conn: Connection, customer_id: int) -> int:
    """Fold the windows below the oldest open one; returns how many deposited ones there were.

    A window at or below `folded.upto_window_id` is closed for good. Raises LostRace when another folds too.
    """
    # Whoever records a window holds this row until its commit: no window with a lower id can appear later.
    of = {"of": customer_id}
    conn.execute(_LOCK, of)
    before: int | None = conn.execute(_BEFORE, of).scalar_one_or_none()
    upto = _upto(conn, customer_id)
    if before is None or upto is None or upto <= before:  # no `before`: the customer was deleted meanwhile
        return 0
    passed = {"of": customer_id, "above": before, "upto": upto}
    new = conn.execute(_SUM[conn.dialect.name], passed).one()
    more = {f"more_{name}": int(value) for name, value in new._mapping.items()}
    changed = conn.execute(_ADD, passed | more)
    if changed.rowcount != 1:
        raise LostRace(f"the windows of customer {customer_id} were folded by another")
    return int(new.windows)


def _upto(conn: Connection, customer_id: int) -> int | None:
    oldest_open = conn.execute(_OLDEST_OPEN, {"of": customer_id}).scalar_one()
    if oldest_open is not None:
        return int(oldest_open) - 1
    # Anybody's: an idle customer's windows to come have higher ids too, and the books need not look below.
    newest: int | None = conn.execute(_NEWEST).scalar_one()
    return newest

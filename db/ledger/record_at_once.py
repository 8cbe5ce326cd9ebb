"""The dispatch transaction's writes as one statement, for PostgreSQL: one answer in place of four."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import (
    ARRAY,
    Boolean,
    Select,
    Update,
    bindparam,
    case,
    column,
    func,
    insert,
    null,
    select,
    true,
)

from db.tables import batches, windows

_LISTED = ("batch_id", "digest", "first_offset", "accepted_at")
_GIVEN = (*_LISTED, "discarded")


def at_once(move: Update, opened: Sequence[str]) -> Select[int]:
    """A statement that moves the cursor, opens a window with the columns `opened`, inserts its batches, and
    has one row, with the window's id.

    `move` returns the customer's id where the cursor was as given, and no row otherwise: then nothing is
    inserted, and the statement has no row either. For what it takes see `values`.
    """
    moved = move.cte("moved")
    given = {name: bindparam(f"window_{name}", type_=windows.c[name].type) for name in opened}
    window = (
        insert(windows)
        .from_select(["customer_id", *given], select(moved.c.customer_id, *given.values()))
        .returning(windows.c.customer_id, windows.c.id)
        .cte("opened")
    )
    types = {name: batches.c[name].type for name in _LISTED} | {"discarded": Boolean()}
    lists = (bindparam(f"all_{name}", type_=ARRAY(types[name])) for name in _GIVEN)
    columns = (column(name, types[name]) for name in _GIVEN)
    batch = func.unnest(*lists).table_valued(*columns).render_derived(name="given")
    rows = select(
        window.c.customer_id,
        *(batch.c[name] for name in _LISTED),
        case((batch.c.discarded, null()), else_=window.c.id),
        case((batch.c.discarded, "discarded"), else_="accepted"),
        bindparam("booked", type_=batches.c.booked_at.type),
    ).select_from(window.join(batch, true()))
    written = ["customer_id", *_LISTED, "window_id", "state", "booked_at"]
    return select(window.c.id).add_cte(insert(batches).from_select(written, rows).cte("noted"))


def values(
    window: Mapping[str, object], new_batches: Sequence[Any], booked_at: int | None
) -> dict[str, object]:
    """What `at_once` takes beside what `move` does: the window's columns, and the `NewBatch`es."""
    lists = {f"all_{name}": [getattr(one, name) for one in new_batches] for name in _GIVEN}
    return {f"window_{name}": value for name, value in window.items()} | lists | {"booked": booked_at}

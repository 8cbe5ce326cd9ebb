"""Quarantined rows in portions that memory and a transaction can hold."""

from collections.abc import Callable, Iterator, Sequence

from sqlalchemy import Engine

import db.quarantine.acts
import db.quarantine.rows
from db.engine import begin, read
from db.quarantine.acts import Note
from db.quarantine.rows import Quarantined, Selection

ROWS_AT_ONCE = 500
BYTES_AT_ONCE = 4 * 1024 * 1024
"""A portion ends before it holds more; a row above it goes alone."""

OnProgress = Callable[[int], None]
"""Told the number of rows done since the last time."""


def portions(engine: Engine, selection: Selection) -> Iterator[list[Quarantined]]:
    """The rows that are selected now, oldest first; none that come later.

    Raises db.errors.DatabaseUnavailable.
    """
    with read(engine) as connection:
        upto = db.quarantine.rows.extent(connection, selection).newest_id
    after = 0
    while True:
        with read(engine) as connection:
            rows = db.quarantine.rows.following(
                connection, selection, after_id=after, upto_id=upto, limit=ROWS_AT_ONCE
            )
        if not rows:
            return
        yield from _portions(rows)
        after = rows[-1].id


def discard(
    engine: Engine, selection: Selection, *, by: str, why: str, at_us: int, progress: OnProgress
) -> int:
    """Delete the bytes of the selected rows that are *kept*, with a note; returns how many.

    May be killed and repeated. Raises db.errors.DatabaseUnavailable.
    """
    written = Note(act="discard", who=by, why=why, noted_at=at_us)
    total = 0
    for rows in portions(engine, selection):
        with begin(engine) as connection:
            gone = db.quarantine.acts.discard(connection, [row.id for row in rows])
            db.quarantine.acts.note(connection, selection.customer_id, gone, written)
        total += len(gone)
        progress(len(rows))
    return total


def _portions(rows: Sequence[Quarantined]) -> Iterator[list[Quarantined]]:
    portion: list[Quarantined] = []
    size = 0
    for row in rows:
        held = row.size if row.withheld is None else row.withheld
        if portion and size + held > BYTES_AT_ONCE:
            yield portion
            portion, size = [], 0
        portion.append(row)
        size += held
    yield portion

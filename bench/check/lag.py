"""Waiting until all that was acknowledged is in the database, read with plain SQL."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

_QUERY = text(
    "SELECT d.batches, (SELECT count(*) FROM windows AS w WHERE w.customer_id = d.customer_id"
    " AND w.state = 'dispatched') FROM dispatch AS d WHERE d.customer_id = :customer"
)
_POLL_S = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """`passed`: batches of the raw stream that the dispatcher has seen; `windows`: not deposited yet."""

    passed: int
    windows: int


def progress(conn: Connection, customer: int) -> Progress:
    passed, windows = conn.execute(_QUERY, {"customer": customer}).one()
    return Progress(passed=int(passed), windows=int(windows))


def wait_until_deposited(
    engine: Engine, customer: int, *, passed: int, patience_s: float, on_poll: Callable[[Progress], None]
) -> None:
    """Return when at least `passed` batches were dispatched and no window is open.

    Raises TimeoutError when nothing has moved for `patience_s`.
    """
    last: Progress | None = None
    now: Progress | None
    moved_at = time.monotonic()
    while True:
        try:
            with engine.connect() as conn:
                now = progress(conn, customer)
        except OperationalError:  # busy or restarting: as good as nothing new
            now = last
        if now is not None and now.passed >= passed and not now.windows:
            return
        if now is not None and now != last:
            last, moved_at = now, time.monotonic()
            on_poll(now)
        if time.monotonic() - moved_at > patience_s:
            raise TimeoutError(f"nothing moved for {patience_s:.0f} s: {last}, waiting for {passed} batches")
        time.sleep(_POLL_S)

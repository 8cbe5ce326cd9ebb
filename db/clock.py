"""The ledger's clock: the database's, so that what several hosts record is in one time.

Each process asks for it every ten seconds, in a transaction that it has anyway, and counts on by a clock of
its own host that nobody sets. What a process books, and the ages by which it decides, are in this time. The
host's own time of day is compared with it only for a warning, `clock_differs`.
"""

import time
from typing import NamedTuple
from weakref import WeakKeyDictionary

import structlog
from sqlalchemy import Connection, Engine

log = structlog.get_logger(__name__)

EVERY_S = 10.0
DIFFERS_S = 60.0
DAY_US = 86_400_000_000
_ASK = {
    "postgresql": "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS bigint)",
    # Days since 4714 BC, of which SQLite knows the milliseconds.
    "sqlite": "SELECT CAST(round((julianday('now') - 2440587.5) * 86400000000.0) AS integer)",
}


class _Known(NamedTuple):
    """What is to be added to `_up_us`, which was then `learned_us`; and whether this host's clock differs."""

    ahead_us: int
    learned_us: int
    differs: bool


_known: WeakKeyDictionary[Engine, _Known] = WeakKeyDictionary()


def now_us(of: Connection | Engine) -> int:
    """µs since 1970, UTC, by the clock of that database; without asking it.

    An engine through which nothing was done yet has this host's clock instead. Off by half the time that an
    answer takes, and by what two clocks drift apart in ten seconds, or for as long as the database is away.
    """
    known = _known.get(of.engine)
    return time.time_ns() // 1000 if known is None else _up_us() + known.ahead_us


def today(of: Connection | Engine) -> int:
    """Days since 1970, UTC, by the clock of that database."""
    return now_us(of) // DAY_US


def keep(conn: Connection) -> None:
    """Ask the database for its time when that is due: one statement, in the caller's transaction."""
    asked_us, known = _up_us(), _known.get(conn.engine)
    if known is not None and asked_us - known.learned_us < EVERY_S * 1e6:
        return
    theirs_us: int = conn.exec_driver_sql(_ASK[conn.dialect.name]).scalar_one()
    answered_us = _up_us()
    ahead_s = (time.time_ns() // 1000 - theirs_us) / 1e6
    differs = abs(ahead_s) > DIFFERS_S
    if differs and not (known is not None and known.differs):
        log.warning("clock_differs", ahead_of_database_s=round(ahead_s))
    _known[conn.engine] = _Known(theirs_us - (asked_us + answered_us) // 2, answered_us, differs)


def _up_us() -> int:
    """µs since this host was started: not set by anybody, and going on while the host sleeps."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1000

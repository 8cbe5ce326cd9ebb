"""Whether this release can work on the database's schema, by the revision that Alembic noted there.

A revision's name begins with its number. A plain one (`0011`) adds what processes of earlier releases need
not know: they go on, and start again, beside it. One that they must not work on says from which revision on a
release may: `0014_from_0012`. Later revisions say the same or more, since they contain it.
"""

import re
from weakref import WeakSet

from sqlalchemy import Connection, Engine

from db.errors import DatabaseMisconfigured

HEAD = "0018"
"""The newest revision that this release knows; a test compares it with `migrations/versions`."""
NAME = re.compile(r"(?P<number>\d{4})(?:_from_(?P<least>\d{4}))?")
_UPGRADE = "run `alembic upgrade head`"

_checked: WeakSet[Engine] = WeakSet()


def keep(conn: Connection) -> None:
    """Check the schema once for each engine: in its first transaction, whenever the database is there.

    Raises DatabaseMisconfigured.
    """
    if conn.engine not in _checked:
        check(conn)
        _checked.add(conn.engine)


def leave_unchecked(engine: Engine) -> Engine:
    """The engine, for who makes the schema or says what is wrong with it."""
    _checked.add(engine)
    return engine


def check(conn: Connection, head: str = HEAD) -> None:
    """Raises DatabaseMisconfigured, with what to do, when a release of `head` must not work on the schema."""
    found = [row[0] for row in conn.exec_driver_sql("SELECT version_num FROM alembic_version")]
    if not found:
        raise DatabaseMisconfigured(f"the database has no tables of Sluice: {_UPGRADE}")
    name = NAME.fullmatch(found[0])
    if name is None or len(found) > 1:
        raise DatabaseMisconfigured(
            f"the database is at revision {', '.join(found)}, which is none of Sluice's: check DATABASE_URL"
        )
    if name["number"] < head[:4]:
        raise DatabaseMisconfigured(
            f"the database is at revision {found[0]} and this release needs {head}: {_UPGRADE}"
        )
    if name["number"] > head[:4] < (name["least"] or ""):
        raise DatabaseMisconfigured(
            f"the database is at revision {found[0]} and this release, of {head}, is too old for it:"
            f" install a release of {name['least']} or later"
        )

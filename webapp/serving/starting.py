"""What a receiver checks before its workers begin."""

import db.reachable
import streams.reachable
from db.settings import DatabaseSettings
from environment import starting
from streams import StreamSettings


def check() -> None:
    """Raises environment.errors.Misconfigured. A server that is away is none: agents get 202 without a
    database, and 503 without a broker, until it is back.
    """
    starting.check()
    database, streaming = DatabaseSettings(), StreamSettings()
    db.reachable.check(database)
    streams.reachable.check(streaming)

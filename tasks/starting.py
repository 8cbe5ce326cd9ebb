"""What the dispatcher and each worker check before they begin."""

import db.reachable
import streams.reachable
from db.settings import DatabaseSettings
from environment import starting
from streams import StreamSettings


def check() -> None:
    """Raises environment.errors.Misconfigured. A server that is away is none: it is waited for."""
    starting.check()
    database, streaming = DatabaseSettings(), StreamSettings()
    db.reachable.check(database)
    streams.reachable.check(streaming)

"""Which workers live and what they consume, so that others know who has a worker of their own."""

import json
from collections.abc import Sequence

from sqlalchemy import Connection, delete, func, select, text

from db.tables import workers

SHARED = ""  # in place of a queue: of workers that serve everybody
SILENT_US = 12_000_000  # a worker that was not seen for this long no longer counts
DISPATCHER = "dispatcher "  # what a dispatcher's name begins with here

_BEAT = text(
    "INSERT INTO workers (name, queues, dedicated, processes, seen_at)"
    " VALUES (:name, :queues, :dedicated, :processes, :seen_at)"
    " ON CONFLICT (name) DO UPDATE SET queues = excluded.queues, dedicated = excluded.dedicated,"
    " processes = excluded.processes, seen_at = excluded.seen_at"
)


def beat(
    conn: Connection,
    name: str,
    now_us: int,
    *,
    queues: Sequence[str] = (),
    dedicated: bool = False,
    processes: int = 0,
) -> None:
    """The worker lives and consumes these queues with so many processes; dedicated means that it was started
    for them alone.
    """
    values = {"name": name, "dedicated": dedicated, "processes": processes, "seen_at": now_us}
    conn.execute(_BEAT, values | {"queues": json.dumps(list(queues))})


def leave(conn: Connection, name: str) -> None:
    """The worker stops."""
    conn.execute(delete(workers).where(workers.c.name == name))


def dispatchers(conn: Connection) -> dict[str, int]:
    """The dispatchers that have said that they live, and when they last said so (µs, own clock)."""
    query = select(workers.c.name, workers.c.seen_at).where(workers.c.name.startswith(DISPATCHER))
    return {name.removeprefix(DISPATCHER): seen_at for name, seen_at in conn.execute(query)}


def processes(conn: Connection, since_us: int) -> dict[str, int]:
    """Processes of the workers seen since then, by queue for dedicated ones; under `SHARED` those of all
    others together.
    """
    shared = select(func.sum(workers.c.processes)).where(~workers.c.dedicated, workers.c.seen_at >= since_us)
    own = select(workers.c.queues, workers.c.processes).where(
        workers.c.dedicated, workers.c.seen_at >= since_us
    )
    found = {SHARED: int(conn.execute(shared).scalar_one() or 0)}
    for queues, count in conn.execute(own):
        for queue in queues:
            found[queue] = found.get(queue, 0) + count
    return found

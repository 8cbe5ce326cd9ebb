"""Which workers live and what they consume, so that others know who has a worker of their own."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, delete, select, text, update

from db.errors import LostName
from db.tables import workers

SHARED = ""  # in place of a queue: of workers that serve everybody
SILENT_S = 12.0  # a worker whose beat stands still for this long no longer counts
OBSERVED_S = 8.0  # so long does a worker watch a row of its name: two beats of who may write it
OBSERVED_LOOKS = 3  # and so often: who may write it could not while the database was away
DISPATCHER = "dispatcher "  # what a dispatcher's name begins with here

_BEAT = text(
    "INSERT INTO workers (name, queues, dedicated, processes, seen_at)"
    " VALUES (:name, :queues, :dedicated, :processes, :seen_at)"
    " ON CONFLICT (name) DO UPDATE SET queues = excluded.queues, dedicated = excluded.dedicated,"
    # It has to change, even while the beating host's clock is set back.
    " processes = excluded.processes, seen_at = CASE WHEN excluded.seen_at > workers.seen_at"
    " THEN excluded.seen_at ELSE workers.seen_at + 1 END"
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
    """The dispatchers that have said that they live, and their beats: numbers that change while they do."""
    query = select(workers.c.name, workers.c.seen_at).where(workers.c.name.startswith(DISPATCHER))
    return {name.removeprefix(DISPATCHER): seen_at for name, seen_at in conn.execute(query)}


_MOST_UNKNOWN = 8  # commits in a row whose outcome is unknown
_TAKE = text(
    "INSERT INTO workers (name, queues, dedicated, processes, seen_at)"
    " VALUES (:name, :queues, :dedicated, :processes, :seen_at) ON CONFLICT (name) DO NOTHING"
)


@dataclass(kw_only=True)
class WorkerName:
    """The name of a worker, whose row it alone writes from the moment it is held.

    A row that is there at the start is of a worker that died, or of one that is alive, perhaps on a host
    that calls itself the same: it is watched first. So is one that comes back with a restored database. No
    clock of another host matters, as in `Attendance`.
    """

    name: str
    _written: tuple[int, ...] = ()  # beats that may be in the row: the outcome of a commit can be unknown
    _met: tuple[int, float, int] | None = None  # a beat of somebody else: it, since when, looks at it

    def beat(
        self, conn: Connection, now_us: int, now_s: float, *, queues: Sequence[str], **fields: int
    ) -> bool:
        """Say that the worker lives, as `beat` does; false while the row of somebody else is watched.

        `now_s`: monotonic seconds; `fields`: `dedicated` and `processes`. Raises LostName when another worker
        beats under this name.
        """
        if self._written and self._rewrite(conn, self._written, now_us, queues, fields):
            return True
        found = conn.execute(select(workers.c.seen_at).where(workers.c.name == self.name)).scalar()
        if found is None:
            row = {"name": self.name, "queues": json.dumps(list(queues)), "seen_at": now_us, **fields}
            self._written, self._met = (now_us,), None
            if not conn.execute(_TAKE, row).rowcount:
                raise LostName
            return True
        if self._met is not None and self._met[0] != found:
            raise LostName
        _, since_s, looks = self._met or (found, now_s, 0)
        self._met = (found, since_s, looks + 1)
        if now_s - since_s < OBSERVED_S or looks + 1 < OBSERVED_LOOKS:
            return False
        if not self._rewrite(conn, (found,), now_us, queues, fields):
            raise LostName
        return True

    def leave(self, conn: Connection) -> None:
        """The worker stops; a row that somebody else writes stays."""
        mine = (workers.c.name == self.name) & workers.c.seen_at.in_(self._written)
        conn.execute(delete(workers).where(mine))

    def _rewrite(
        self,
        conn: Connection,
        found: tuple[int, ...],
        now_us: int,
        queues: Sequence[str],
        fields: Mapping[str, int],
    ) -> bool:
        # It has to change, even while the host's clock is set back.
        now_us = max(now_us, max(found) + 1)
        mine = (workers.c.name == self.name) & workers.c.seen_at.in_(found)
        values = {"queues": list(queues), "seen_at": now_us, **fields}
        if not conn.execute(update(workers).where(mine).values(values)).rowcount:
            return False
        self._written, self._met = (*found, now_us)[-_MOST_UNKNOWN:], None
        return True


def dedicated_to(conn: Connection, queues: Collection[str]) -> dict[str, int]:
    """The workers that were started for one of these queues, and their beats; not all of them live."""
    rows = conn.execute(select(workers).where(workers.c.dedicated))
    return {row.name: row.seen_at for row in rows if not set(queues).isdisjoint(row.queues)}


@dataclass(kw_only=True)
class Attendance:
    """Which workers live, as one observer sees it: a beat that it saw change lately, on its own clock.

    `seen_at` is written by the workers' hosts, whose clocks may differ by any amount: it is never compared
    with another time. A worker that is met for the first time counts until it has been silent.
    """

    _seen: dict[str, tuple[int, float]] = field(default_factory=dict)  # by name: beat, since when

    def processes(self, conn: Connection, now_s: float) -> dict[str, int]:
        """Processes of the workers that live, by queue for dedicated ones; under `SHARED` those of all others
        together. `now_s`: monotonic seconds.
        """
        rows = conn.execute(select(workers).where(~workers.c.name.startswith(DISPATCHER))).all()
        before = self._seen
        self._seen = {
            row.name: before[row.name]
            if row.name in before and before[row.name][0] == row.seen_at
            else (row.seen_at, now_s)
            for row in rows
        }
        found = {SHARED: 0}
        for row in rows:
            if now_s - self._seen[row.name][1] >= SILENT_S:
                continue
            for queue in row.queues if row.dedicated else (SHARED,):
                found[queue] = found.get(queue, 0) + row.processes
        return found

"""Deleting a customer: refused by every process first, then its streams and queues, then its rows.

Each step may be killed and repeated. What is removed from the broker is looked for again before the end: a
process that had not heard of the deletion may have made it anew.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

from sqlalchemy import Engine

import db.customers.deletion
import db.customers.routes
from db.clock import now_us
from db.customers.deletion import SLICED, Deletion
from db.customers.rows import Customer
from db.engine import begin, look, read
from db.errors import DatabaseUnavailable, Refusal
from db.ledger.workers import SILENT_S, dedicated_to
from streams import Broker, processed, raw

EVERYWHERE_S = 12.0
"""So long after its beginning every process knows of a deletion: what is cached is 10 s old at most."""
ROWS_AT_ONCE = 2_000
TRIES = 5
"""Of a slice whose rows are locked, by a deposit that is still under way perhaps."""
_POLL_S = 0.5

OnStep = Callable[[str], None]
"""Told what was done, for people."""
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Deleting:
    """Deletes one customer. `say` is told of every step."""

    engine: Engine
    broker: Broker
    customer: Customer
    say: OnStep

    def run(self, *, who: str, why: str) -> Deletion:
        """Begin the deletion, or go on where an earlier one ended; returns what was deleted.

        Blocks for `EVERYWHERE_S` and as long as the rows take. Raises Refusal while a worker was started for
        a queue of the customer's alone (nothing was changed then), db.errors.DatabaseUnavailable,
        streams.errors.BrokerUnavailable, BrokerMisconfigured: then the same call goes on later.
        """
        queues = self._queues()
        self._need_no_worker(queues)
        # From this commit on there is no way back.
        self._repeated(lambda: self._begin(who, why))
        deletion = self._known()
        self.say(
            f"customer {deletion.note.slug} is being deleted; every process knows within {EVERYWHERE_S:g} s"
        )
        self._wait(deletion)
        self._clear_broker(queues)
        while True:
            for rows, table in self._rows(deletion):
                self.say(f"{rows:,} rows of {table} are deleted")
            self._clear_broker(queues)
            if self._repeated(lambda: self._finish(deletion)):
                return self._known()

    def _queues(self) -> Sequence[str]:
        with read(self.engine) as connection:
            return db.customers.routes.queues_of(connection, self.customer)

    def _need_no_worker(self, queues: Sequence[str]) -> None:
        """A worker that was killed is still in the table: only one whose beat changes is there."""
        before: dict[str, int] | None = None
        until = time.monotonic() + SILENT_S
        while True:
            with look(self.engine) as connection:
                beats = dedicated_to(connection, queues)
            before = beats if before is None else before
            alive = sorted(name for name, beat in beats.items() if before.get(name) != beat)
            if alive:
                raise Refusal(
                    f"{alive[0]} was started with -Q for a queue of {self.customer.slug}: stop that worker,"
                    f" or have it leave the queue (celery -A tasks control cancel_consumer QUEUE)"
                )
            if not beats or time.monotonic() >= until:
                return
            time.sleep(_POLL_S)

    def _begin(self, who: str, why: str) -> None:
        with begin(self.engine) as connection:
            db.customers.deletion.begin(connection, self.customer, who=who, why=why)

    def _finish(self, deletion: Deletion) -> bool:
        with begin(self.engine) as connection:
            return db.customers.deletion.finish(connection, deletion)

    def _known(self) -> Deletion:
        with read(self.engine) as connection:
            found = db.customers.deletion.latest(connection, self.customer.slug)
        if found is None or found.customer_id != self.customer.id:
            raise Refusal(f"customer {self.customer.slug} was deleted meanwhile")
        return found

    def _wait(self, deletion: Deletion) -> None:
        left_s = EVERYWHERE_S - (now_us(self.engine) - deletion.note.noted_at) / 1e6
        time.sleep(min(EVERYWHERE_S, max(0.0, left_s)))

    def _clear_broker(self, queues: Sequence[str]) -> None:
        for stream in (raw(self.customer.slug), processed(self.customer.slug)):
            if self.broker.exists(stream):
                self.broker.delete(stream)
                self.say(f"stream {stream} is removed")
        for queue in queues:
            if self.broker.remove_doorbells(queue):
                self.say(f"queue {queue} is removed")

    def _rows(self, deletion: Deletion) -> Iterator[tuple[int, str]]:
        """How many rows were deleted of each table that had any."""
        for table in SLICED:
            total = 0

            def some() -> int:
                with begin(self.engine) as connection:
                    return db.customers.deletion.delete_slice(connection, deletion, table, ROWS_AT_ONCE)  # noqa: B023

            while rows := self._repeated(some):
                total += rows
            if total:
                yield total, table.name

    def _repeated(self, act: Callable[[], T]) -> T:
        """What a lock of another may keep from being done at once."""
        for _ in range(TRIES - 1):
            try:
                return act()
            except DatabaseUnavailable as error:
                time.sleep(min(error.retry_after_s, 1.0))
        return act()

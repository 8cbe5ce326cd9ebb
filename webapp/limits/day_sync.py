"""Tells the database what counts for a day, and learns what other receivers told it."""

import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic

import structlog
from sqlalchemy import Connection, Engine

from db.clock import now_us, today
from db.customers.day_use import Written
from db.engine import begin
from webapp.limits.meters import M, Meters

log = structlog.get_logger(__name__)

EVERY_S = 2.0
"""A receiver that is killed as a whole forgets what it counted within so many seconds."""
DAY_S = 86_400
_AT_ONCE = 500  # of a statement's and a transaction's


class DaySync(Generic[M]):
    """Thread-safe, one per process for each kind of meters; its thread starts with the first look-up.

    `written` and `write` are those of `db.customers.quota_use` or `db.customers.public_key_use`.
    """

    def __init__(
        self,
        engine: Engine,
        meters: Meters[M],
        written: Callable[..., Mapping[int, Written[Any]]],
        write: Callable[[Connection, str, int, Mapping[int, Any]], None],
    ) -> None:
        self._engine = engine
        self._meters = meters
        self._written = written
        self._write = write
        # Bounded by the number of customers or keys.
        self._changed: set[int] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def today(self) -> int:
        """Days since 1970, UTC, the same for all receivers."""
        return today(self._engine)

    def left_s(self) -> float:
        """Seconds until the day is over."""
        return DAY_S - now_us(self._engine) / 1e6 % DAY_S

    def changed(self, meter_id: int) -> None:
        """The meter counted something; it will be written."""
        with self._lock:
            self._changed.add(meter_id)

    def learn(self, connection: Connection, ids: Sequence[int]) -> dict[int, M]:
        """Read what all receivers wrote for today, and return the meters as they are then.

        It is called by the thread that looks keys up, before anything of theirs counts.
        """
        if not ids:
            return {}
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="usage", daemon=True)
                self._thread.start()
        return self._learn(connection, self.today(), ids)

    def close(self) -> None:
        """Stop, and write what has not been written; waits for the database as its settings say."""
        self._stop.set()
        if self._thread is None:
            self._tell()
        else:
            self._thread.join()

    def _learn(self, connection: Connection, day: int, ids: Sequence[int]) -> dict[int, M]:
        written, found = self._written(connection, ids, day, receiver=self._meters.receiver), dict[int, M]()
        for meter_id in ids:
            with self._meters.open(meter_id, day) as meter:
                if meter.day == day:
                    meter.learn(written.get(meter_id))
                found[meter_id] = meter
        return found

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            self._tell()
        self._tell()

    def _tell(self) -> None:
        with self._lock:
            changed, self._changed = self._changed, set()
        # Of one that was forgotten and not opened since nothing is left to tell.
        left, day = sorted(one for one in changed if self._meters.look(one) is not None), self.today()
        try:
            while left:
                some = left[:_AT_ONCE]
                with begin(self._engine) as connection:
                    # One that was forgotten meanwhile has to be added to what was written of it before.
                    found = self._learn(connection, day, some)
                    counts = {one: meter.own for one, meter in found.items() if meter.day == day}
                    self._write(connection, self._meters.receiver, day, counts)
                del left[:_AT_ONCE]
        except Exception as error:  # the thread must outlive what it does not know
            log.warning("usage_not_written", changed=len(left), error=type(error).__name__)
            with self._lock:
                self._changed.update(left)

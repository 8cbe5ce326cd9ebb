"""Tells the database what counts against daily quotas, and learns what other receivers told it."""

import threading
from collections.abc import Sequence

import structlog
from sqlalchemy import Connection, Engine

from db.clock import now_us, today
from db.customers import quota_use
from db.engine import begin
from db.errors import DatabaseMisconfigured, DatabaseUnavailable
from webapp.limits.meters import Meters

log = structlog.get_logger(__name__)

EVERY_S = 2.0
"""A receiver that is killed as a whole forgets what it accepted within so many seconds."""
DAY_S = 86_400
NOTHING_WRITTEN = quota_use.Written(0, 0)


class QuotaSync:
    """Thread-safe, one per process; its thread starts with the first batch that counts."""

    def __init__(self, engine: Engine, meters: Meters) -> None:
        self._engine = engine
        self._meters = meters
        # Bounded by the number of customers.
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

    def changed(self, customer_id: int) -> None:
        """The customer's count went up; it will be written."""
        with self._lock:
            self._changed.add(customer_id)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="usage", daemon=True)
                self._thread.start()

    def learn(self, connection: Connection, customer_ids: Sequence[int]) -> dict[int, int]:
        """Read what all receivers wrote for today, and return what counts against each one's quota now."""
        if not customer_ids:
            return {}
        day, used = self.today(), dict[int, int]()
        written = quota_use.written(connection, customer_ids, day, receiver=self._meters.receiver)
        for customer_id in customer_ids:
            of_day = written.get(customer_id, NOTHING_WRITTEN)
            with self._meters.open(customer_id) as meter:
                meter.begin_day(day)
                if meter.day == day:
                    meter.others = max(meter.others, of_day.others)
                    meter.used = max(meter.used, of_day.own)
                used[customer_id] = meter.others + meter.used
        return used

    def close(self) -> None:
        """Stop, and write what has not been written; waits for the database as its settings say."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(EVERY_S):
            self._write()
        self._write()

    def _write(self) -> None:
        with self._lock:
            changed, self._changed = self._changed, set()
        if not changed:
            return
        day, counts = self.today(), dict[int, int]()
        for customer_id in changed:
            with self._meters.open(customer_id) as meter:
                if meter.day == day:
                    counts[customer_id] = meter.used
        try:
            with begin(self._engine) as connection:
                quota_use.write(connection, self._meters.receiver, day, counts)
        except (DatabaseUnavailable, DatabaseMisconfigured) as error:
            log.warning("usage_not_written", customers=len(changed), error=type(error).__name__)
            with self._lock:
                self._changed |= changed

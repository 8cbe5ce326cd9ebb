"""Tells the database what was used of public keys, and learns what other receivers told it."""

import threading
from collections.abc import Iterable

import structlog
from sqlalchemy import Connection, Engine

from db.clock import now_us, today
from db.customers import public_key_use
from db.customers.public_key_use import KeyUse, WrittenUse
from db.engine import begin
from db.errors import DatabaseMisconfigured, DatabaseUnavailable
from webapp.limits.key_meters import KeyMeters
from webapp.limits.quota_sync import DAY_S, EVERY_S

log = structlog.get_logger(__name__)


class KeyUseSync:
    """Thread-safe, one per process; its thread starts with the first request that has a public key."""

    def __init__(self, engine: Engine, meters: KeyMeters) -> None:
        self._engine = engine
        self._meters = meters
        # Bounded by the number of keys.
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

    def changed(self, key_id: int) -> None:
        """The key's counts changed; they will be written."""
        with self._lock:
            self._changed.add(key_id)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="key-use", daemon=True)
                self._thread.start()

    def learn(self, connection: Connection, key_ids: Iterable[int]) -> None:
        """Read what all receivers wrote for today."""
        if ids := list(key_ids):
            day = self.today()
            written = public_key_use.written(connection, ids, day, receiver=self._meters.receiver)
            for key_id in ids:
                with self._meters.open(key_id, day) as meter:
                    meter.learn(written.get(key_id, WrittenUse()))

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
        day, uses = self.today(), dict[int, KeyUse]()
        for key_id in changed:
            with self._meters.open(key_id, day) as meter:
                uses[key_id] = meter.own
        try:
            with begin(self._engine) as connection:
                public_key_use.write(connection, self._meters.receiver, day, uses)
        except (DatabaseUnavailable, DatabaseMisconfigured) as error:
            log.warning("key_use_not_written", keys=len(changed), error=type(error).__name__)
            with self._lock:
                self._changed |= changed

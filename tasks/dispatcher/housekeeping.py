"""Forgets what is old enough, beside the dispatch: a slow deletion never keeps a window waiting."""

import dataclasses
import threading
from collections.abc import Callable

import structlog
from sqlalchemy import Engine

from db.clock import now_us
from db.engine import look
from db.errors import DatabaseUnavailable, Lost
from db.retention.pruning import prune
from db.settings import DatabaseSettings

log = structlog.get_logger("dispatcher")

STOP_WITHIN_S = 5.0
# The others have their turn in the next rounds: with thousands of customers a round of all would keep this
# process from its windows for seconds, and a day's retention can wait for some minutes.
CUSTOMERS_A_ROUND = 200


class Housekeeper:
    """A thread that prunes every `every_s` seconds; slices are locked, so several dispatchers may do so."""

    def __init__(
        self, engine: Engine, settings: DatabaseSettings, *, every_s: float, failed: Callable[[], None]
    ) -> None:
        """`failed` is called when the thread ends on an error that waiting does not cure."""
        self._engine = engine
        self._settings = settings
        self._every_s = every_s
        self._failed = failed
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when the round under way is done, or after `STOP_WITHIN_S`, which rolls its slice back."""
        self._stopping.set()
        self._thread.join(STOP_WITHIN_S)

    def _run(self) -> None:
        try:
            self._prune_now_and_then()
        except BaseException:
            self._failed()
            raise

    def _prune_now_and_then(self) -> None:
        reached = ""
        while not self._stopping.wait(self._every_s):
            try:
                with look(self._engine) as connection:
                    at_us = now_us(connection)
                pruned = prune(
                    self._engine,
                    self._settings,
                    at_us,
                    after=reached,
                    most_customers=CUSTOMERS_A_ROUND,
                )
                reached = pruned.reached
            except (DatabaseUnavailable, Lost) as error:
                log.warning("pruning_waited", detail=str(error)[:200])
                continue
            if any(dataclasses.astuple(pruned)):
                log.info(
                    "pruned",
                    batch_ids=pruned.batches,
                    windows=pruned.windows,
                    results=pruned.results,
                    quarantined=pruned.quarantined,
                    partitions=pruned.partitions,
                    failed=pruned.failed,
                )

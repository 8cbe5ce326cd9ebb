"""The run's own broker node, started again when it dies. What takes seconds happens aside."""

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from deploy.local import leftovers, processes, rabbitmq
from deploy.local.table import ProcessRow

CHECK_EVERY_S = 1.0
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 30.0


class Moved(RuntimeError):
    """The node came back on other ports: its clients would look for it in the wrong place."""


class SupervisedNode:
    """Belongs to one thread; `start` and `stop` return at once with what will be known later."""

    def __init__(
        self, folder: Path, *, mark: str, pool: ThreadPoolExecutor, tell: Callable[[str], None]
    ) -> None:
        self._folder = folder
        self._mark = mark
        self._pool = pool
        self._tell = tell
        self._starting: Future[rabbitmq.RabbitNode] | None = None
        self._running: rabbitmq.RabbitNode | None = None
        self._next_check = 0.0
        self._pause_s = FIRST_PAUSE_S
        self.restarts = 0

    def start(self) -> "Future[rabbitmq.RabbitNode]":
        """Raises, through the future, install.PackageMissing, records.Running, OSError."""
        self._starting = self._pool.submit(rabbitmq.start, self._folder)
        return self._starting

    def check(self) -> None:
        """Start the node again when it is gone. Raises Moved."""
        if time.monotonic() < self._next_check:
            return
        self._next_check = time.monotonic() + CHECK_EVERY_S
        if self._starting is not None and self._starting.done():
            self._take(self._starting)
        elif self._starting is None and self._running is not None and processes.of(self._running.pid) is None:
            self._tell(f"the node (pid {self._running.pid}) died; it is started again")
            self._again()

    def row(self) -> ProcessRow:
        if self._starting is not None and not self._starting.done():
            return ProcessRow(
                "node", None, "starting" if not self.restarts else "starting again", not self.restarts
            )
        failed = self._starting is not None and self._starting.exception() is not None
        known = self._running if failed or self._starting is None else self._starting.result()
        words = f"up, restarted {self.restarts}×" if self.restarts else "up"
        return ProcessRow("node", known.pid if known else None, words, True)

    def stop(self) -> "Future[None]":
        return self._pool.submit(self._stop)

    def _take(self, started: "Future[rabbitmq.RabbitNode]") -> None:
        self._starting = None
        problem = started.exception()
        if problem is not None:
            self._pause_s = min(self._pause_s * 2, LONGEST_PAUSE_S)
            self._tell(f"the node did not start: {problem}; next try in {self._pause_s:.0f} s")
            self._next_check = time.monotonic() + self._pause_s
            return
        before, self._running = self._running, started.result()
        self._pause_s = FIRST_PAUSE_S
        if before is not None:
            self._tell(f"the node is up again (pid {self._running.pid})")
            if before.amqp_url != self._running.amqp_url or before.stream_url != self._running.stream_url:
                raise Moved("the node's ports were taken while it was away: start again")

    def _again(self) -> None:
        self.restarts += 1
        self._starting = self._pool.submit(self._restart)

    def _restart(self) -> rabbitmq.RabbitNode:
        rabbitmq.stop(self._folder)
        return rabbitmq.start(self._folder)

    def _stop(self) -> None:
        # A start that is under way ends as soon as what it waits for is gone.
        while self._starting is not None and not self._starting.done():
            leftovers.stop(self._mark, within_s=5.0)
            time.sleep(0.1)
        if self._running is not None or (self._starting is not None and self._starting.exception() is None):
            rabbitmq.stop(self._folder)

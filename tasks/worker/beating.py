"""A worker's parent says that its event loop turns, how late, and whether it consumes what it should: in its
measures, and to the service manager.
"""

import time
from typing import Any

from celery import bootsteps

from supervision import Supervised
from tasks.measures.shown import parent_measures
from tasks.worker.consumption import Consumption, consumption

EVERY_S = 1.0


class Beating(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
    """Beats in the event loop itself: one that stands still does not."""

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._timer: Any = None
        self._due_s = 0.0

    def start(self, consumer: Any) -> None:
        self._due_s = time.monotonic() + EVERY_S
        self._timer = consumer.timer.call_repeatedly(EVERY_S, self._beat, (consumer,))

    def stop(self, consumer: Any) -> None:
        parent_measures().own.turned(ready=False)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _beat(self, consumer: Any) -> None:
        now = time.monotonic()
        consumes = consumption(consumer)
        ready = consumes.consumed > 0 and not consumes.lacking
        parent_measures().own.turned(now - self._due_s, ready=ready)
        self._due_s = now + EVERY_S
        _tell(consumer.supervised, consumes)


def _tell(supervised: Supervised, consumes: Consumption) -> None:
    """A worker that lacks one of its queues says nothing, and is started again if that lasts."""
    if consumes.lacking:
        return
    if consumes.consumed:
        supervised.ready("consumes its queues")
        supervised.status(f"consumes its queues: {consumes.consumed}")
    supervised.progressed()

"""A worker without ``-Q`` serves every customer that has no dedicated worker, customers added later
included.
"""

import time
from contextlib import suppress
from typing import Any

import structlog
from celery import bootsteps

import db.customers
import db.engine
import db.errors
import db.workers
from db.settings import DatabaseSettings
from tasks.queues import STAGES, queue_name

log = structlog.get_logger("worker")

LOOK_S = 4.0  # how often the customers are looked at
# A look happens in the worker's event loop: a slow database must not cost it the broker's heartbeats.
SHORT = {
    "connect_timeout_s": 2,
    "statement_timeout_s": 2.0,
    "lock_timeout_s": 1.0,
    "sqlite_busy_timeout_s": 1.0,
}


class SharedQueues(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
    """Keeps a worker's queues in step with the customers; tells the other workers what this one serves.

    Runs in the worker's parent, in its event loop, on a connection that is opened for each look: nothing of
    it is inherited by a child. While the database is away the queues stay as they are.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._timer: Any = None
        self._engine = db.engine.connect(DatabaseSettings().model_copy(update=SHORT), pooled=False)

    def start(self, consumer: Any) -> None:
        default = consumer.app.conf.task_default_queue
        self._shared = default in consumer.app.amqp.queues.consume_from
        # Not yet: queues that hold messages must not be taken before the event loop listens to them.
        consumer.timer.call_after(0, self._look, (consumer,))
        self._timer = consumer.timer.call_repeatedly(LOOK_S, self._look, (consumer,))

    def stop(self, consumer: Any) -> None:
        with suppress(db.errors.Unavailable), db.engine.begin(self._engine) as connection:
            db.workers.leave(connection, consumer.hostname)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, consumer: Any) -> None:
        serving = set(consumer.app.amqp.queues.consume_from)
        now_us = time.time_ns() // 1000
        try:
            with db.engine.begin(self._engine) as connection:
                db.workers.beat(
                    connection,
                    consumer.hostname,
                    now_us,
                    # Nobody asks which queues a shared worker serves, and with many customers they are long.
                    queues=[] if self._shared else sorted(serving),
                    dedicated=not self._shared,
                    processes=consumer.pool.num_processes,
                )
                if not self._shared:
                    return
                elsewhere = set(db.workers.processes(connection, now_us - db.workers.SILENT_US))
                customers = db.customers.everyone(connection)
        except db.errors.Unavailable as error:
            log.warning("queues_not_looked_at", reason=str(error)[:200])
            return
        wanted = {
            queue_name(customer.slug, stage, customer.routes) for customer in customers for stage in STAGES
        }
        self._serve(consumer, serving, wanted - elsewhere)

    def _serve(self, consumer: Any, serving: set[str], wanted: set[str]) -> None:
        queues = consumer.app.amqp.queues
        taken = sorted(wanted - serving)
        left = sorted(serving - wanted - {consumer.app.conf.task_default_queue})
        for name in taken:
            queues[name]  # known under this name, it is declared the way a worker with -Q and a sender do
            consumer.add_task_queue(name)
        for name in left:
            consumer.cancel_task_queue(name)
        if taken or left:
            log.info("queues_changed", taken=taken, left=left)

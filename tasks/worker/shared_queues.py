"""A worker without `-Q` serves every customer that has no dedicated worker, customers added later
included.
"""

import time
from contextlib import suppress
from typing import Any

import structlog
from amqp.exceptions import ChannelError, RecoverableConnectionError
from celery import bootsteps

import db.customers.rows
import db.engine
import db.errors
import db.ledger.workers
from db.clock import now_us
from db.settings import DatabaseSettings
from tasks.queues import STAGES, queue_name
from tasks.worker.misconfigured import stop_misconfigured
from tasks.worker.transport import lost

log = structlog.get_logger("worker")

LOOK_S = 4.0  # how often the customers are looked at
# A look happens in the worker's event loop: a slow database must not cost it the broker's heartbeats.
SHORT = {
    "connect_timeout_s": 2,
    "statement_timeout_s": 2.0,
    "lock_timeout_s": 1.0,
    "sqlite_busy_timeout_s": 1.0,
}
OUT_OF_REACH = (db.errors.DatabaseUnavailable, db.errors.DatabaseMisconfigured)


class SharedQueues(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
    """Keeps a worker's queues in step with the customers; tells the other workers what this one serves.

    Runs in the worker's parent, in its event loop, on a connection that is opened for each look: nothing of
    it is inherited by a child. While the database is away the queues stay as they are.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._timer: Any = None
        # Asked once: `shared` itself may be refused later.
        self._shared = consumer.app.conf.task_default_queue in consumer.app.amqp.queues.consume_from
        self._attendance = db.ledger.workers.Attendance()
        self._name = db.ledger.workers.WorkerName(name=consumer.hostname)
        self._engine = db.engine.connect(DatabaseSettings().model_copy(update=SHORT), pooled=False)

    def start(self, consumer: Any) -> None:
        # Not yet: queues that hold messages must not be taken before the event loop listens to them.
        consumer.timer.call_after(0, self._look, (consumer,))
        self._timer = consumer.timer.call_repeatedly(LOOK_S, self._look, (consumer,))

    def stop(self, consumer: Any) -> None:
        with suppress(*OUT_OF_REACH), db.engine.begin(self._engine) as connection:
            self._name.leave(connection)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, consumer: Any) -> None:
        _check(consumer)
        if not self._shared:
            self._take(consumer, sorted(consumer.refused.due()))
        serving = set(consumer.app.amqp.queues.consume_from)
        try:
            with db.engine.begin(self._engine) as connection:
                self._name.beat(
                    connection,
                    now_us(connection),
                    time.monotonic(),
                    # Nobody asks which queues a shared worker serves, and with many customers they are long.
                    queues=[] if self._shared else sorted(serving),
                    dedicated=not self._shared,
                    processes=consumer.pool.num_processes,
                )
                if not self._shared:
                    return
                elsewhere = set(self._attendance.processes(connection, time.monotonic()))
                customers = db.customers.rows.present(connection)
        except db.errors.LostName:
            stop_misconfigured("worker_name_taken", name=consumer.hostname)
        except db.errors.DatabaseUnavailable as error:
            log.warning("queues_not_looked_at", reason=str(error)[:200])
            return
        except db.errors.DatabaseMisconfigured as error:
            stop_misconfigured("database_misconfigured", reason=str(error))
        wanted = {
            queue_name(customer.slug, stage, customer.routes) for customer in customers for stage in STAGES
        }
        wanted.add(consumer.app.conf.task_default_queue)
        self._serve(consumer, serving, wanted - elsewhere)

    def _serve(self, consumer: Any, serving: set[str], wanted: set[str]) -> None:
        taken = self._take(consumer, sorted(wanted - serving - consumer.refused.left_alone()))
        left = sorted(serving - wanted)
        for name in left:
            consumer.cancel_task_queue(name)
        if taken or left:
            log.info("queues_changed", taken=taken, left=left)

    def _take(self, consumer: Any, names: list[str]) -> list[str]:
        """Consume these queues, too; returns those that the broker lets us have."""
        queues, taken = consumer.app.amqp.queues, []
        for name in self._declared(consumer, names):
            try:
                consumer.add_task_queue(name)
            except ChannelError as error:
                # The channel of all queues is closed now: Celery's loop has them consumed anew, without it.
                consumer.refused.note(name, error)
                queues.deselect(name)
                raise RecoverableConnectionError(f"the broker refused {name}") from error
            consumer.refused.taken(name)
            taken.append(name)
        return taken

    def _declared(self, consumer: Any, names: list[str]) -> list[str]:
        """Those that can be declared: on another channel than that of all, since a refusal closes it."""
        queues, declared, channel = consumer.app.amqp.queues, [], None
        for name in names:
            queue = queues[name]  # known under this name, it is declared as a worker with -Q and a sender do
            channel = channel or consumer.connection.channel()
            try:
                queue.bind(channel).queue_declare()
            except ChannelError as error:
                channel.close()
                channel = None
                _check(consumer)  # it may be of that channel, whose end was read while this one was asked
                consumer.refused.note(name, error)
            else:
                declared.append(name)
        if channel is not None:
            channel.close()
        return declared


def _check(consumer: Any) -> None:
    """Celery's loop takes what is raised for a lost connection, and consumes anew."""
    if lost(consumer.task_consumer.channel):
        raise RecoverableConnectionError("the channel of this worker's queues was closed")

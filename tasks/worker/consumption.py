"""A worker says which of its queues it consumes, to whoever asks on its host (`python -m tasks.health`)."""

import errno
import time
from typing import Any

import msgspec
import structlog
from celery import bootsteps

from supervision import Answerer, address
from tasks.worker.misconfigured import stop_misconfigured
from tasks.worker.transport import lost

log = structlog.get_logger("worker")

MOST_NAMED = 20  # queues in an answer
TAKEN_S = 3.0  # a worker that was told to stop may still have to notice
WORKER = "worker"


class Consumption(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker consumes now. `lacking`: some of the queues that it should consume, and does not."""

    consumed: int
    lacking: list[str] = []
    refused: list[str] = []  # by the broker; the worker tries them again (`tasks.worker.refused_queues`)


class Answering(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
    """Answers in the event loop of the worker's parent, at the moment of asking: a loop that stands still
    does not, and what was true a while ago is not said.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._answerer: Answerer | None = None
        if consumer.hub is not None:
            # Before the broker is connected: a worker that waits for it is there, and can be told from none.
            self._answerer = _answerer(
                consumer.hostname, address(WORKER, consumer.app.conf.broker_url, consumer.hostname)
            )

    def register_with_event_loop(self, consumer: Any, hub: Any) -> None:
        """Called again after each reconnection, whose loop is a new one."""
        if self._answerer is not None:
            hub.add_reader(self._answerer.socket, self._answer, consumer)

    def close(self, consumer: Any) -> None:
        """The worker stops, and may finish tasks for minutes: its name is free from now on."""
        if self._answerer is not None:
            if consumer.hub is not None:
                consumer.hub.remove_reader(self._answerer.socket)
            self._answerer.close()
            self._answerer = None

    def _answer(self, consumer: Any) -> None:
        assert self._answerer is not None
        self._answerer.answer(lambda: msgspec.json.encode(consumption(consumer)))


def consumption(consumer: Any) -> Consumption:
    """What the consumer's connection says; the broker's word for the end of a channel or of a queue has been
    read by then, since it is read before anything else is done.
    """
    tasks = consumer.task_consumer
    wanted = consumer.app.amqp.queues.consume_from.values()
    gone = tasks is None or lost(tasks.channel)
    lacking = sorted(queue.name for queue in wanted if gone or not tasks.consuming_from(queue.name))
    return Consumption(
        consumed=len(wanted) - len(lacking),
        lacking=lacking[:MOST_NAMED],
        refused=sorted(consumer.refused.names)[:MOST_NAMED],
    )


def _answerer(name: str, where: str) -> Answerer | None:
    """Raises WorkerShutdown when a worker of this name is alive on this host."""
    until = time.monotonic() + TAKEN_S
    while True:
        try:
            return Answerer(where)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                log.error("health_not_answered", reason=str(error))
                return None
        if time.monotonic() >= until:
            stop_misconfigured("worker_name_taken", name=name)
        time.sleep(0.1)

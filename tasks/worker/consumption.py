"""A worker says which of its queues it consumes, to whoever asks on its host (`python -m tasks.health`)."""

import errno
import hashlib
import os
import socket
import struct
import time
from contextlib import suppress
from typing import Any

import msgspec
import structlog
from celery import bootsteps

from tasks.worker.names import stop_for_name
from tasks.worker.transport import lost

log = structlog.get_logger("worker")

MOST_NAMED = 20  # queues in an answer
TAKEN_S = 3.0  # a worker that was told to stop may still have to notice
MOST_WAIT = 16  # who ask while the loop does something else
_CREDENTIALS = struct.Struct("3i")  # SO_PEERCRED: process, user, group


class Consumption(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker consumes now. `lacking`: some of the queues that it should consume, and does not."""

    consumed: int
    lacking: list[str] = []
    refused: list[str] = []  # by the broker; the worker tries them again (`tasks.worker.refused_queues`)


def address(broker_url: str, name: str) -> str:
    """Where the worker `name` of this broker answers: an abstract Unix socket, which needs no file, no port
    and no room on a disk, and goes with its process.
    """
    return "\0sluice-worker-" + hashlib.sha256(f"{broker_url}\n{name}".encode()).hexdigest()[:32]


class Answering(bootsteps.StartStopStep):  # type: ignore[misc]  # celery has no types
    """Answers in the event loop of the worker's parent, at the moment of asking: a loop that stands still
    does not, and what was true a while ago is not said.
    """

    requires = ("celery.worker.consumer.tasks:Tasks",)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        self._listener: socket.socket | None = None
        if consumer.hub is not None:
            # Before the broker is connected: a worker that waits for it is there, and can be told from none.
            self._listener = _listen(
                consumer.hostname, address(consumer.app.conf.broker_url, consumer.hostname)
            )

    def register_with_event_loop(self, consumer: Any, hub: Any) -> None:
        """Called again after each reconnection, whose loop is a new one."""
        if self._listener is not None:
            hub.add_reader(self._listener, self._answer, consumer)

    def close(self, consumer: Any) -> None:
        """The worker stops, and may finish tasks for minutes: its name is free from now on."""
        if self._listener is not None:
            if consumer.hub is not None:
                consumer.hub.remove_reader(self._listener)
            self._listener.close()
            self._listener = None

    def _answer(self, consumer: Any) -> None:
        assert self._listener is not None
        with suppress(OSError):  # who asked may be gone
            asker, _ = self._listener.accept()
            with asker:
                asker.setblocking(False)
                if _may_ask(asker):
                    asker.send(msgspec.json.encode(consumption(consumer)))


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


def _listen(name: str, where: str) -> socket.socket | None:
    """Raises WorkerShutdown when a worker of this name is alive on this host."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    until = time.monotonic() + TAKEN_S
    while True:
        try:
            listener.bind(where)
            break
        except OSError as error:
            if error.errno == errno.EADDRINUSE and time.monotonic() < until:
                time.sleep(0.1)
                continue
            listener.close()
            if error.errno == errno.EADDRINUSE:
                stop_for_name(name)
            log.error("health_not_answered", reason=str(error))
            return None
    listener.listen(MOST_WAIT)
    listener.setblocking(False)
    # A child that outlives its parent must not hold its place.
    os.register_at_fork(after_in_child=listener.close)
    return listener


def _may_ask(asker: socket.socket) -> bool:
    """Whether it is the same user, or root: queues are named after customers."""
    credentials = asker.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return _CREDENTIALS.unpack(credentials)[1] in (os.geteuid(), 0)

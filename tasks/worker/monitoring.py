"""How `celery inspect`, `celery control` and Flower see a worker, and at what cost to it."""

from collections import deque
from typing import Any
from uuid import uuid4

from celery.app.control import Control as CeleryControl
from celery.app.events import Events as CeleryEvents
from celery.events.dispatcher import EventDispatcher as CeleryDispatcher
from kombu import Queue
from kombu.pidbox import Mailbox as KombuMailbox

MOST_EVENTS_KEPT = 1_000  # while they can't be sent; then the oldest go


class Mailbox(KombuMailbox):
    """A queue of its own for each connection of a worker.

    Celery's is named after the worker alone, and exclusive: after a lost connection it stays locked for as
    long as the broker believes in that connection, or for as long as the node that held it is away, and a
    worker that comes back takes no task until then. Commands are broadcast, so nobody needs the queue's name.
    """

    def get_queue(self, hostname: str) -> Queue:
        queue: Queue = super().get_queue(hostname)  # type: ignore[no-untyped-call]
        queue.name = f"{hostname}.{uuid4().hex}.{self.namespace}.pidbox"
        return queue


class Control(CeleryControl):  # type: ignore[misc]  # celery has no types
    Mailbox = Mailbox


class EventDispatcher(CeleryDispatcher):  # type: ignore[misc]  # celery has no types
    """An event that can't be sent is kept for the next connection, never tried again here.

    Celery's heartbeats are: inside the worker's event loop and without an end, for after a reconnection kombu
    declares the events' exchange on the channel that was lost (celery/celery#3921). The worker then serves
    nothing, and does not know it.
    """

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._outbound_buffer: deque[Any] = deque(maxlen=MOST_EVENTS_KEPT)

    def send(self, *arguments: Any, **fields: Any) -> Any:
        return super().send(*arguments, **fields | {"retry": False})


class Events(CeleryEvents):  # type: ignore[misc]  # celery has no types
    dispatcher_cls = f"{__name__}:{EventDispatcher.__name__}"

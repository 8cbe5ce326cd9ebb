"""The worker's consumer, which comes back soon after the broker does."""

from typing import Any

from amqp.exceptions import ChannelError
from celery.signals import worker_shutting_down
from celery.worker.consumer import Consumer

from supervision import Supervised
from tasks.measures.shown import parent_measures
from tasks.worker.refused_queues import RefusedQueues, named_in

MOST_PAUSE_S = 2.0


class PromptConsumer(Consumer):  # type: ignore[misc]  # celery has no types
    """Tries a broker that is away every two seconds: Celery's own pause grows by two each time, up to 30 s,
    and would lengthen every restart of the broker by half of what it took.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        self.refused = RefusedQueues()
        self.supervised = Supervised()
        worker_shutting_down.connect(self._shutting_down)
        super().__init__(*args, **options)

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Leave a queue out that the broker refused when all were consumed anew: with it the others would be
        lost as well, since its refusal closes the channel that they share.
        """
        parent_measures().connections.reconnected("queues")()
        if isinstance(exc, ChannelError):
            name = named_in(exc)
            if name is not None and name in self.app.amqp.queues.consume_from:
                self.refused.note(name, exc)
                self.app.amqp.queues.deselect(name)
        super().on_connection_error_after_connected(exc)

    def ensure_connected(self, conn: Any) -> Any:
        def ensure(errback: Any = None, *arguments: Any, **options: Any) -> Any:
            def refused(*said: Any) -> None:
                # The event loop does not turn meanwhile, and that is no reason to start the worker again.
                self.supervised.progressed()
                parent_measures().own.turned(ready=False)
                if errback is not None:
                    errback(*said)

            return first(refused, *arguments, interval_max=MOST_PAUSE_S, **options)

        first = conn.ensure_connection
        conn.ensure_connection = ensure
        return super().ensure_connected(conn)

    def _shutting_down(self, **_signal: Any) -> None:
        self.supervised.stopping()

    def connection_for_write(self, url: str | None = None, heartbeat: float | None = None) -> Any:
        """The connection for events. They go without the confirm that tasks wait for: the worker's parent
        would stand still for each of them, and Flower's picture is not worth that.
        """
        conn = self.app.connection_for_write(url=url, heartbeat=heartbeat)
        conn.transport_options = conn.transport_options | {"confirm_publish": False}
        return self.ensure_connected(conn)

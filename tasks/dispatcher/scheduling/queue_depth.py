"""What the broker says of a customer's queue: how many messages wait."""

from amqp.exceptions import ChannelError
from celery import Celery
from kombu.connection import Connection


class Queues:
    """Passive declares over one connection."""

    def __init__(self, app: Celery) -> None:
        self._connection: Connection = app.connection_for_write()

    def waiting(self, queue: str) -> int:
        """Messages that no consumer holds; 0 for a queue that does not exist, or that may not be looked at.

        Raises kombu's OperationalError when the broker is away.
        """
        self._connection.ensure_connection(max_retries=1, timeout=5)
        try:
            with self._connection.channel() as channel:
                return int(channel.queue_declare(queue, passive=True).message_count)
        except ChannelError:
            return 0

    def close(self) -> None:
        self._connection.release()

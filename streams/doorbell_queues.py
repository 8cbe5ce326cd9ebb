"""The AMQP queues that carry doorbells, as an operator sees and removes them.

Only names that Sluice made are given here, but what has such a name now may be another program's.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from amqp.exceptions import AMQPError, NotFound, PreconditionFailed
from kombu.connection import Connection
from kombu.exceptions import OperationalError

from streams.by_amqp import by_amqp
from streams.errors import BrokerMisconfigured, BrokerUnavailable

# As Celery declares them, by SLUICE_TASK_QUEUE_TYPE.
_OURS: Sequence[dict[str, Any]] = ({}, {"x-queue-type": "quorum"})
# Whatever kind the broker gives to a queue that asks for none.
_STREAM = {"x-queue-type": "stream"}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueState:
    """`messages` that no consumer holds; consumers of any program."""

    messages: int
    consumers: int


def waiting(broker_url: str, queues: Sequence[str], timeout_s: float) -> dict[str, QueueState]:
    """Those of the queues that are there. Raises BrokerUnavailable."""
    with _connected(broker_url, timeout_s) as connection:
        found = {name: _look(connection, name) for name in queues}
    return {name: one for name, one in found.items() if one is not None}


def remove(broker_url: str, queue: str, timeout_s: float) -> bool:
    """Remove the queue with all that waits in it; False when it is not there.

    Raises BrokerUnavailable; BrokerMisconfigured when it is a stream, has other arguments than a queue of
    ours, or is consumed.
    """
    with _connected(broker_url, timeout_s) as connection:
        found = _look(connection, queue)
        if found is None:
            return False
        # In this order: if it is deleted meanwhile, an empty queue of our kind is made, never a stream.
        if not any(_fits(connection, queue, ours) for ours in _OURS) or _fits(connection, queue, _STREAM):
            raise BrokerMisconfigured(
                f"{queue} is not declared as a queue of Sluice's is; it was left as it is"
            )
        # RabbitMQ's own "if unused" is not for quorum queues. Whoever begins to consume now is told
        # that the queue is gone, and its worker declares it anew.
        if found.consumers:
            raise BrokerMisconfigured(f"{queue} is consumed; stop the worker that has it with -Q")
        with connection.channel() as channel:
            channel.queue_delete(queue)
    return True


def _look(connection: Connection, name: str) -> QueueState | None:
    try:
        with connection.channel() as channel:
            said = channel.queue_declare(name, passive=True)
    except NotFound:
        return None
    return QueueState(messages=said.message_count, consumers=said.consumer_count)


def _fits(connection: Connection, name: str, arguments: dict[str, Any]) -> bool:
    """Whether the existing queue is durable and was declared with these arguments."""
    try:
        with connection.channel() as channel:
            channel.queue_declare(name, durable=True, auto_delete=False, arguments=arguments)
    except PreconditionFailed:
        return False
    return True


@contextmanager
def _connected(broker_url: str, timeout_s: float) -> Iterator[Connection]:
    with by_amqp(broker_url, timeout_s) as connection:
        try:
            yield connection
        except (AMQPError, OperationalError, OSError) as error:
            raise BrokerUnavailable(f"looking at queues: {error}") from error

"""Creates streams, and makes sure that they are what was asked for."""

from typing import Any

from amqp.exceptions import AMQPError, PreconditionFailed
from kombu.connection import Connection
from kombu.exceptions import OperationalError
from rstream import schema
from rstream.exceptions import PreconditionFailed as CreatePreconditionFailed, StreamAlreadyExists

from streams.connections.client import as_unavailable, check
from streams.connections.pool import Pool
from streams.errors import BrokerMisconfigured, BrokerUnavailable

# As the stream protocol names them; verify spells AMQP's names out, so that a typo here is found out.
MAX_BYTES, MAX_AGE, SEGMENT_BYTES = "max-length-bytes", "max-age", "stream-max-segment-size-bytes"
_ALREADY_THERE = (StreamAlreadyExists.code, CreatePreconditionFailed.code)


async def create(pool: Pool, stream: str, *, max_bytes: int, max_age_s: int, segment_bytes: int) -> None:
    """Creates the stream when it is not there; what is there already is not looked at."""
    control = await pool.control()
    arguments = [
        schema.Property(MAX_BYTES, str(max_bytes)),
        schema.Property(MAX_AGE, f"{max_age_s}s"),
        schema.Property(SEGMENT_BYTES, str(segment_bytes)),
    ]
    try:
        request = schema.Create(control.correlation(), stream, arguments)
        answer = await control.sync_request(request, schema.CreateResponse, raise_exception=False)
    except Exception as error:
        raise as_unavailable(error, f"creating {stream}") from error
    if answer.response_code not in _ALREADY_THERE:
        check(answer.response_code, stream, "creating")


async def delete(pool: Pool, stream: str) -> None:
    """Raises StreamMissing when it is not there."""
    control = await pool.control()
    try:
        request = schema.Delete(control.correlation(), stream)
        answer = await control.sync_request(request, schema.DeleteResponse, raise_exception=False)
    except Exception as error:
        raise as_unavailable(error, f"deleting {stream}") from error
    check(answer.response_code, stream, "deleting")


def verify(
    broker_url: str, stream: str, *, max_bytes: int, max_age_s: int, segment_bytes: int, timeout_s: float
) -> None:
    """Raises BrokerMisconfigured when the existing stream's retention or segment size differ.

    The stream protocol ignores arguments that it does not know, and cannot read any back. An AMQP 0.9.1
    queue.declare with the same arguments, under their AMQP names, succeeds only when the stored ones are
    equal; an argument that was misspelt on one side is "none" on the other, which is a difference too (tried
    on 3.10.8: 406 for another value and for a missing one). An operator's policies are not seen by this.
    """
    arguments: dict[str, Any] = {
        "x-queue-type": "stream",
        "x-max-length-bytes": max_bytes,
        "x-max-age": f"{max_age_s}s",
        "x-stream-max-segment-size-bytes": segment_bytes,
    }
    timeouts = {"read_timeout": timeout_s, "write_timeout": timeout_s}
    connection = Connection(broker_url, connect_timeout=timeout_s, transport_options=timeouts)
    try:
        channel = connection.channel()
        channel.queue_declare(stream, durable=True, auto_delete=False, arguments=arguments)
    except PreconditionFailed as error:
        raise BrokerMisconfigured(
            f"stream {stream} exists with other arguments; delete it or ask for what it has: {error}"
        ) from error
    except (AMQPError, OperationalError, OSError) as error:
        raise BrokerUnavailable(f"reading back stream {stream}: {error}") from error
    finally:
        connection.release()

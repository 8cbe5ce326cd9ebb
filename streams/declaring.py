"""Creates streams, and makes sure that they are what was asked for."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from amqp.exceptions import AMQPError, PreconditionFailed
from kombu.connection import Connection
from kombu.exceptions import OperationalError
from rstream import schema
from rstream.exceptions import PreconditionFailed as CreatePreconditionFailed, StreamAlreadyExists

from streams.by_amqp import by_amqp
from streams.connections.client import as_unavailable, check
from streams.connections.pool import Pool
from streams.errors import BrokerMisconfigured, BrokerUnavailable

# As the stream protocol names them; `WantedStream.arguments` spells AMQP's names out, so that a typo here is
# found out.
MAX_BYTES, MAX_AGE, SEGMENT_BYTES = "max-length-bytes", "max-age", "stream-max-segment-size-bytes"
_ALREADY_THERE = (StreamAlreadyExists.code, CreatePreconditionFailed.code)


@dataclass(frozen=True, slots=True, kw_only=True)
class WantedStream:
    """A stream and its retention: bytes and age in seconds, by whole segments of `segment_bytes`."""

    name: str
    max_bytes: int
    max_age_s: int
    segment_bytes: int

    @property
    def arguments(self) -> dict[str, Any]:
        """With which AMQP declares it."""
        return {
            "x-queue-type": "stream",
            "x-max-length-bytes": self.max_bytes,
            "x-max-age": f"{self.max_age_s}s",
            "x-stream-max-segment-size-bytes": self.segment_bytes,
        }


async def create(pool: Pool, wanted: WantedStream) -> None:
    """Creates the stream when it is not there; what is there already is not looked at."""
    control, stream = await pool.control(), wanted.name
    arguments = [
        schema.Property(MAX_BYTES, str(wanted.max_bytes)),
        schema.Property(MAX_AGE, f"{wanted.max_age_s}s"),
        schema.Property(SEGMENT_BYTES, str(wanted.segment_bytes)),
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


def verify(broker_url: str, wanted: WantedStream, *, timeout_s: float) -> None:
    """Raises BrokerMisconfigured when the existing stream's retention or segment size differ.

    The stream protocol ignores arguments that it does not know, and cannot read any back. An AMQP 0.9.1
    queue.declare with the same arguments, under their AMQP names, succeeds only when the stored ones are
    equal; an argument that was misspelt on one side is "none" on the other, which is a difference too (tried
    on 3.10.8: 406 for another value and for a missing one). An operator's policies are not seen by this.
    """
    with _verifying(broker_url, timeout_s) as check_one:
        check_one(wanted)


def verify_all(
    broker_url: str, streams: Sequence[WantedStream], *, timeout_s: float
) -> dict[str, BrokerUnavailable | BrokerMisconfigured]:
    """As `verify` for each of them, over one connection; returns what is wrong by the stream's name.

    `timeout_s` is for one stream. One that gives no answer fails alone, and the connection is opened anew;
    when that fails, all the streams that are left have its error.
    """
    failed: dict[str, BrokerUnavailable | BrokerMisconfigured] = {}
    left = list(streams)
    while left:
        try:
            with _verifying(broker_url, timeout_s) as check_one:
                while left:
                    wanted = left.pop(0)
                    try:
                        check_one(wanted)
                    except BrokerMisconfigured as error:
                        failed[wanted.name] = error
                    except BrokerUnavailable as error:
                        failed[wanted.name] = error
                        break
        except BrokerUnavailable as error:
            return failed | {one.name: error for one in left}
    return failed


@contextmanager
def _verifying(broker_url: str, timeout_s: float) -> Iterator[Callable[[WantedStream], None]]:
    with by_amqp(broker_url, timeout_s) as connection:
        _connect(connection)
        yield lambda wanted: _verify(connection, wanted)


def _connect(connection: Connection) -> None:
    try:
        connection.connect()
    except (AMQPError, OperationalError, OSError) as error:
        raise BrokerUnavailable(f"reading back streams: {error}") from error


def _verify(connection: Connection, wanted: WantedStream) -> None:
    try:
        # A channel each, since the broker closes the one that met a difference.
        with connection.channel() as channel:
            channel.queue_declare(wanted.name, durable=True, auto_delete=False, arguments=wanted.arguments)
    except PreconditionFailed as error:
        raise BrokerMisconfigured(
            f"stream {wanted.name} exists with other arguments; delete it or ask for what it has: {error}"
        ) from error
    except (AMQPError, OperationalError, OSError) as error:
        raise BrokerUnavailable(f"reading back stream {wanted.name}: {error}") from error

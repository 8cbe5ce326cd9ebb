"""Whether the broker takes us: what a retry will mend is told from what only a new setting will."""

import asyncio
import socket
from contextlib import suppress

from amqp.exceptions import AccessRefused, AMQPError, NotAllowed
from kombu.connection import Connection
from kombu.exceptions import OperationalError
from rstream import exceptions

from streams.address import Address, Node, parse
from streams.connections.client import StreamClient
from streams.errors import BrokerMisconfigured, BrokerUnavailable, Refused
from streams.settings import StreamSettings

_LOGIN_REFUSED = (
    exceptions.AuthenticationFailure.code,
    exceptions.SASLError.code,
    exceptions.SASLAuthenticationFailureLoopback.code,
)
_VHOST_REFUSED = exceptions.VirtualHostAccessFailure.code


def check(settings: StreamSettings) -> None:
    """Log in once by AMQP and once by the stream protocol; returns when that works, and when nobody answers.

    Blocks for `connect_timeout_s` for each of the two and each node. Leaves no thread behind, so that a
    process may fork afterwards. Raises BrokerMisconfigured when a host is unknown, or when user, password or
    vhost are refused.
    """
    for url in settings.broker_url.split(";"):
        check_amqp(url, settings.connect_timeout_s)
    address = parse(settings.url)
    for node in address.nodes:
        asyncio.run(_check_stream(address, node, settings))


def check_amqp(url: str, timeout_s: float) -> None:
    """The same for one AMQP URL."""
    timeouts = {"read_timeout": timeout_s, "write_timeout": timeout_s}
    connection = Connection(url, connect_timeout=timeout_s, transport_options=timeouts)
    try:
        connection.connect()
    except AccessRefused:
        raise _refused("BROKER_URL", "user or password") from None
    except NotAllowed:
        raise _refused("BROKER_URL", "vhost") from None
    except (AMQPError, OperationalError, OSError) as error:
        _check_host("BROKER_URL", connection.hostname, error)
    finally:
        connection.release()


async def _check_stream(address: Address, node: Node, settings: StreamSettings) -> None:
    client = StreamClient(address, node, settings, lambda: None)
    try:
        await client.connect()
    except Refused as error:
        if error.code in _LOGIN_REFUSED:
            raise _refused("STREAM_URL", "user or password") from None
        if error.code == _VHOST_REFUSED:
            raise _refused("STREAM_URL", "vhost") from None
    except BrokerUnavailable as error:
        _check_host("STREAM_URL", node.host, error)
    else:
        with suppress(BrokerUnavailable):
            await client.shut(settings.connect_timeout_s)


def _check_host(variable: str, host: str | None, error: BaseException | None) -> None:
    while error is not None:
        if isinstance(error, socket.gaierror) and error.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
            raise BrokerMisconfigured(f"{variable} names the host {host!r}, which nobody knows") from None
        error = error.__cause__ or error.__context__


def _refused(variable: str, what: str) -> BrokerMisconfigured:
    return BrokerMisconfigured(f"the broker refuses the {what} of {variable}: correct it, or the broker's")

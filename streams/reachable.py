"""Whether the broker takes us: what a retry will mend is told from what only a new setting will."""

import asyncio
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from amqp.exceptions import AccessRefused, AMQPError, NotAllowed
from kombu.exceptions import OperationalError
from rstream import exceptions

from streams.address import Address, Node, parse
from streams.by_amqp import by_amqp
from streams.connections.client import StreamClient, tls_context
from streams.errors import BrokerMisconfigured, BrokerUnavailable, Refused
from streams.settings import StreamSettings

_LOGIN_REFUSED = (
    exceptions.AuthenticationFailure.code,
    exceptions.SASLError.code,
    exceptions.SASLAuthenticationFailureLoopback.code,
)
_VHOST_REFUSED = exceptions.VirtualHostAccessFailure.code


class UnknownHost(BrokerMisconfigured):
    """The name server knows no such host."""


def check(settings: StreamSettings) -> None:
    """Log in once by AMQP and once by the stream protocol; returns when that works, and when nobody answers.

    Blocks for `connect_timeout_s` for each of the two and each node. Leaves no thread behind, so that a
    process may fork afterwards. Raises BrokerMisconfigured when user, password or vhost are refused, or when
    every host of a URL's nodes is unknown: a node of a cluster may have left it, and its name with it.
    """
    urls = settings.broker_url.split(";")
    _one_is_known([partial(check_amqp, url, settings.connect_timeout_s) for url in urls])
    address = parse(settings.url)
    _one_is_known([partial(_check_stream, address, node, settings) for node in address.nodes])


def _one_is_known(checks: Sequence[Callable[[], None]]) -> None:
    """Run them all. Raises UnknownHost when all do, and what else one of them raises."""
    unknown = []
    for check_node in checks:
        try:
            check_node()
        except UnknownHost as error:
            unknown.append(error)
    if len(unknown) == len(checks):
        raise unknown[0]


def check_amqp(url: str, timeout_s: float) -> None:
    """The same for one AMQP URL. Raises BrokerMisconfigured, UnknownHost among them."""
    with by_amqp(url, timeout_s) as connection:
        try:
            connection.connect()
        except AccessRefused:
            raise _refused("BROKER_URL", "user or password") from None
        except NotAllowed:
            raise _refused("BROKER_URL", "vhost") from None
        except (AMQPError, OperationalError, OSError) as error:
            _check_host("BROKER_URL", connection.hostname, error)


def _check_stream(address: Address, node: Node, settings: StreamSettings) -> None:
    asyncio.run(_check_by_stream(address, node, settings))


async def _check_by_stream(address: Address, node: Node, settings: StreamSettings) -> None:
    client = StreamClient(address, node, settings, lambda: None, tls=tls_context(address))
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
    met: list[BaseException] = []  # an error's causes can lead back to it
    while error is not None and not any(error is one for one in met):
        if isinstance(error, socket.gaierror) and error.errno in (socket.EAI_NONAME, socket.EAI_NODATA):
            raise UnknownHost(f"{variable} names the host {host!r}, which nobody knows") from None
        met.append(error)
        error = error.__cause__ or error.__context__


def _refused(variable: str, what: str) -> BrokerMisconfigured:
    return BrokerMisconfigured(f"the broker refuses the {what} of {variable}: correct it, or the broker's")

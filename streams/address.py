"""What a stream URL says."""

from dataclasses import dataclass, field, replace
from typing import NamedTuple
from urllib.parse import SplitResult, unquote

from environment.errors import Misconfigured
from environment.urls import split_streams
from streams.errors import BrokerMisconfigured

_SCHEMES = {"rabbitmq-stream": (False, 5552), "rabbitmq-stream+tls": (True, 5551)}


class Node(NamedTuple):
    """Host and port of one broker node, as it advertises itself or as the URL names it."""

    host: str
    port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """A parsed stream URL; its repr shows no password. `nodes` are tried in turn, any of them will do."""

    nodes: tuple[Node, ...]
    user: str
    password: str = field(repr=False)
    vhost: str
    tls: bool


def parse(url: str) -> Address:
    """The URL of one node, or of several nodes of one cluster, joined by semicolons as in BROKER_URL.

    Raises BrokerMisconfigured, with a message that holds nothing of the URL's password.
    """
    try:
        first, *others = [_address(one) for one in split_streams(url)]
    except Misconfigured as error:
        raise BrokerMisconfigured(str(error)) from None
    if any(replace(other, nodes=first.nodes) != first for other in others):
        raise BrokerMisconfigured(
            "the URLs in STREAM_URL differ in more than host and port: they name one cluster"
        )
    return replace(first, nodes=tuple(dict.fromkeys(node for one in (first, *others) for node in one.nodes)))


def _address(parts: SplitResult) -> Address:
    tls, default_port = _SCHEMES[parts.scheme]
    return Address(
        nodes=(Node(parts.hostname or "", parts.port or default_port),),
        user=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        vhost=unquote(parts.path[1:]) or "/",
        tls=tls,
    )

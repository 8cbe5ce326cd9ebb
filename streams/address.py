"""What a stream URL says."""

from dataclasses import dataclass, field, replace
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from streams.errors import BrokerMisconfigured

_SCHEMES = {"rabbitmq-stream": (False, 5552), "rabbitmq-stream+tls": (True, 5551)}
_FORM = (
    "expected rabbitmq-stream[+tls]://user:password@host:port/vhost (the default vhost is %2f),"
    " of a cluster several joined by semicolons"
)


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
    first, *others = [_parse_one(one) for one in url.split(";")]
    if any(replace(other, nodes=first.nodes) != first for other in others):
        raise BrokerMisconfigured(
            "the URLs in STREAM_URL differ in more than host and port: they name one cluster"
        )
    return replace(first, nodes=tuple(dict.fromkeys(node for one in (first, *others) for node in one.nodes)))


def _parse_one(url: str) -> Address:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise BrokerMisconfigured(f"STREAM_URL is not a URL: {_FORM}") from None
    if parts.scheme not in _SCHEMES:
        raise BrokerMisconfigured(f"STREAM_URL has the scheme {parts.scheme!r}: {_FORM}")
    if not parts.hostname:
        raise BrokerMisconfigured(f"STREAM_URL names no host: {_FORM}")
    tls, default_port = _SCHEMES[parts.scheme]
    path = parts.path[1:]
    return Address(
        nodes=(Node(parts.hostname, port or default_port),),
        user=unquote(parts.username or "guest"),
        password=unquote(parts.password or "guest"),
        vhost=unquote(path) or "/",
        tls=tls,
    )

"""What a host that nobody knows means: alone a mistake, beside the other nodes of a cluster none."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from streams import StreamSettings, reachable
from streams.errors import BrokerMisconfigured
from tests.proxy import Proxy

GONE, AWAY = "gone.invalid", "127.0.0.1:1"


@pytest.fixture(autouse=True)
def _name_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this machine's name server says, one host is unknown."""
    really = socket.getaddrinfo

    def asked(host: Any, *others: Any, **named: Any) -> Any:
        if host == GONE:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return really(host, *others, **named)

    monkeypatch.setattr(socket, "getaddrinfo", asked)


def settings(*, amqp: list[str], stream: list[str]) -> StreamSettings:
    return StreamSettings(
        broker_url=";".join(f"amqp://u:p@{host}//" for host in amqp),
        url=";".join(f"rabbitmq-stream://u:p@{host}/%2f" for host in stream),
        connect_timeout_s=5,
    )


@pytest.mark.parametrize("nodes", [[GONE, AWAY], [AWAY, GONE]])
def test_a_node_that_has_left_its_cluster_keeps_nobody_from_starting(nodes: list[str]) -> None:
    reachable.check(settings(amqp=nodes, stream=nodes))


@pytest.mark.parametrize(
    ("variable", "amqp", "stream"), [("BROKER_URL", [GONE, GONE], [AWAY]), ("STREAM_URL", [AWAY], [GONE])]
)
def test_hosts_that_are_all_unknown_are_a_mistake(variable: str, amqp: list[str], stream: list[str]) -> None:
    with pytest.raises(BrokerMisconfigured, match=f"{variable} names the host '{GONE}'"):
        reachable.check(settings(amqp=amqp, stream=stream))


def test_a_node_that_hangs_up_is_one_that_is_away(hanging_up: str) -> None:
    reachable.check(settings(amqp=[hanging_up], stream=[hanging_up]))


@pytest.fixture
def hanging_up() -> Iterator[str]:
    """The address of a server that ends each connection as soon as it is made."""
    with Proxy("127.0.0.1", 1) as proxy:
        proxy.refuse()
        yield f"127.0.0.1:{proxy.port}"

"""TCP connections that are cut, frozen, or carry in one direction only."""

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from urllib.parse import urlsplit

import pytest

from deploy.local.rabbitmq import RabbitNode
from tests.fault.attempt import attempt
from tests.fault.installation import Installation, installed
from tests.fault.servers import Database
from tests.proxy import Proxy

pytestmark = [
    pytest.mark.fault,
    pytest.mark.timeout(300),
    # SQLite has no connections.
    pytest.mark.parametrize("database", ["postgresql"], indirect=True, scope="module"),
]

SILENT_S = 25.0  # longer than both ends wait for a heartbeat
LINKS = ("streams", "queues", "database")
HOWS = ("cut", "frozen", "answers swallowed", "requests swallowed")
WITH_HEARTBEATS = ("streams", "queues")


@dataclass(frozen=True, kw_only=True)
class Linked:
    """An installation whose every connection to a server goes through that server's proxy."""

    installation: Installation
    proxies: dict[str, Proxy]


@pytest.fixture(scope="module")
def linked(
    node: RabbitNode, database: Database, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Linked]:
    urls = {"streams": node.stream_url, "queues": node.amqp_url, "database": database.url}
    with ExitStack() as stack:
        proxies = {}
        for name, url in urls.items():
            port = urlsplit(url).port
            assert port is not None
            proxies[name] = stack.enter_context(Proxy("127.0.0.1", port))
            urls[name] = url.replace(f":{port}", f":{proxies[name].port}")
        installation = stack.enter_context(
            installed(
                tmp_path_factory.mktemp("installation"),
                database_url=urls["database"],
                amqp_url=urls["queues"],
                stream_url=urls["streams"],
            )
        )
        yield Linked(installation=installation, proxies=proxies)


@pytest.mark.parametrize("link", LINKS)
@pytest.mark.parametrize("how", HOWS)
def test_a_broken_connection_costs_nothing(linked: Linked, link: str, how: str) -> None:
    proxy = linked.proxies[link]

    def fault(_: Installation) -> None:
        match how:
            case "cut":
                proxy.cut()
            case "frozen":
                proxy.freeze()
                time.sleep(SILENT_S)
                proxy.thaw()
            case "answers swallowed":
                proxy.swallow_answers()
                time.sleep(SILENT_S)
                proxy.swallow_answers(False)
                proxy.cut()
            case "requests swallowed":
                proxy.swallow_requests()
                time.sleep(SILENT_S)
                proxy.swallow_requests(False)
                proxy.cut()

    lasting = "" if how == "cut" else f" {SILENT_S:.0f} s"
    attempt(linked.installation, f"connections for {link} × {how}{lasting}", fault)


@pytest.mark.parametrize("link", WITH_HEARTBEATS)
def test_connections_that_fall_silent_for_good_are_given_up(linked: Linked, link: str) -> None:
    def fault(_: Installation) -> None:
        linked.proxies[link].silence()

    attempt(linked.installation, f"connections for {link} × silent for good", fault)

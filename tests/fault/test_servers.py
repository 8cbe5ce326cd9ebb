"""The broker and the database die, run out of disk, and lose their messages; the clock jumps."""

import json
import time
import urllib.parse
import urllib.request
from base64 import b64encode
from signal import SIGKILL

import pytest

from deploy.local.rabbitmq import RabbitNode
from tests.fault.attempt import attempt
from tests.fault.installation import Installation
from tests.fault.servers import Database, kill_broker, limit_free_disk, start_broker, stop_broker
from tests.whole import until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

AWAY_S = 10.0
FULL_S = 15.0
JUMP_S = 300


def test_a_killed_broker_costs_nothing(installation: Installation, node: RabbitNode) -> None:
    def fault(_: Installation) -> None:
        kill_broker(node.folder)
        start_broker(node.folder)

    attempt(installation, "broker node × SIGKILL", fault)


def test_a_restarted_broker_costs_nothing(installation: Installation, node: RabbitNode) -> None:
    def fault(_: Installation) -> None:
        stop_broker(node.folder)
        start_broker(node.folder)

    attempt(installation, "broker node × SIGTERM, restarted", fault)


def test_a_broker_that_stays_away_costs_nothing(installation: Installation, node: RabbitNode) -> None:
    def fault(_: Installation) -> None:
        kill_broker(node.folder)
        time.sleep(AWAY_S)
        start_broker(node.folder)

    attempt(installation, f"broker node × SIGKILL, away {AWAY_S:.0f} s", fault)


def test_a_broker_without_disk_space_costs_nothing(installation: Installation, node: RabbitNode) -> None:
    def fault(_: Installation) -> None:
        limit_free_disk(node.folder, 10**15)
        try:
            time.sleep(FULL_S)
        finally:
            limit_free_disk(node.folder, 500_000_000)

    outcome = attempt(installation, f"broker node × disk full {FULL_S:.0f} s", fault)
    assert outcome.requests > outcome.batches, "no agent had to come back: the alarm did nothing"


def test_a_killed_database_server_costs_nothing(installation: Installation, database: Database) -> None:
    if database.server is None:
        pytest.skip("SQLite has no server")
    for away_s in (0.0, AWAY_S):

        def fault(_: Installation, away_s: float = away_s) -> None:
            database.kill()
            time.sleep(away_s)
            database.start()

        attempt(installation, f"database server × SIGKILL, away {away_s:.0f} s", fault)


def test_a_database_without_disk_space_costs_nothing(installation: Installation, database: Database) -> None:
    if not database.bounded:
        pytest.skip("a small file system takes root and a kernel that lets it mount")

    def fault(_: Installation) -> None:
        with database.full():
            time.sleep(FULL_S)

    attempt(installation, f"database × disk full {FULL_S:.0f} s", fault)
    assert database.complained(installation.whole.log("dispatcher"))


def test_a_clock_that_jumps_back_and_forth_costs_nothing(installation: Installation) -> None:
    def fault(installation: Installation) -> None:
        installation.jump(-JUMP_S)
        time.sleep(AWAY_S)
        installation.jump(0)

    attempt(installation, f"clock × {JUMP_S} s back, then forth", fault)


def test_purged_queues_are_rung_again(installation: Installation, node: RabbitNode) -> None:
    def fault(installation: Installation) -> None:
        worker = installation.specs["worker"]
        installation.retire("worker", SIGKILL)
        until(lambda: sum(_queues(node).values()) > 0, "doorbells that nobody hears")
        for queue in _queues(node):
            _ask(node, "DELETE", f"/api/queues/%2f/{urllib.parse.quote(queue)}/contents")
        installation.start("worker", None, *worker.extra)

    attempt(installation, "customers' queues × purged", fault)


def _queues(node: RabbitNode) -> dict[str, int]:
    """The customers' queues and how many messages lie in each, ready and unacknowledged."""
    found = json.loads(_ask(node, "GET", "/api/queues/%2f"))
    return {
        queue["name"]: queue.get("messages", 0) for queue in found if queue["name"].startswith("customer-")
    }


def _ask(node: RabbitNode, method: str, path: str) -> bytes:
    url = urllib.parse.urlsplit(node.management_url)
    login = b64encode(f"{url.username}:{url.password}".encode()).decode()
    request = urllib.request.Request(
        f"http://{url.hostname}:{url.port}{path}", method=method, headers={"Authorization": f"Basic {login}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        content: bytes = answer.read()
    return content

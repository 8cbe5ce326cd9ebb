"""The broker and the database die, run out of disk, and lose their messages and streams; the clock jumps."""

import json
import time
import urllib.parse
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from signal import SIGCONT, SIGKILL, SIGSTOP

import pytest
from sqlalchemy import text

from bench.installation.leaderless import leaderless
from db.ledger.workers import SILENT_S
from deploy.local.rabbitmq import RabbitNode
from streams import Broker, StreamSettings, raw
from tests.fault.attempt import attempt
from tests.fault.installation import Installation
from tests.fault.servers import Database, kill_broker, limit_free_disk, start_broker, stop_broker
from tests.integration.test_generations import recreate
from tests.integration.test_whole import settled
from tests.whole import until

pytestmark = [pytest.mark.fault, pytest.mark.timeout(300)]

AWAY_S = 10.0
FULL_S = 15.0
JUMP_S = 300
DAY_S = 86_400


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


@pytest.mark.parametrize(("role", "days"), [("receiver", -8), ("dispatcher", 40), ("worker", -8)])
def test_one_hosts_wrong_clock_costs_nothing(installation: Installation, role: str, days: int) -> None:
    """By more than batch ids are remembered, windows are kept, or events may be ahead."""

    def fault(_: Installation) -> None:
        time.sleep(SILENT_S)  # a worker that is taken for dead has had the time to be missed

    installation.jump(days * DAY_S, role)
    try:
        attempt(
            installation,
            f"clock of the {role}'s host × {abs(days)} days {'slow' if days < 0 else 'fast'}",
            fault,
        )
    finally:
        installation.jump(0, role)


def test_a_stream_without_leader_costs_its_own_customer_only_time(
    installation: Installation, node: RabbitNode
) -> None:
    def fault(installation: Installation) -> None:
        with leaderless(node, raw(_newest(installation))):
            installation.signal("dispatcher", SIGKILL)
            time.sleep(2 * AWAY_S)

    attempt(installation, f"one stream without leader {2 * AWAY_S:.0f} s, dispatcher × SIGKILL", fault)


@pytest.fixture
def broker(node: RabbitNode) -> Iterator[Broker]:
    broker = Broker(StreamSettings(url=node.stream_url, broker_url=node.amqp_url))
    yield broker
    broker.close()


@pytest.mark.parametrize(("kind", "kept"), [("cut", 0.5), ("replaced", 0.0)])
@pytest.mark.parametrize("seen", ["at once", "grown past the cursor"])
def test_a_raw_stream_that_lost_what_was_deposited_costs_nothing(
    installation: Installation, broker: Broker, kind: str, kept: float, seen: str
) -> None:
    """The last or all messages of one customer's stream go; its agents' next ones get the same offsets."""
    cursors: dict[str, int] = {}

    def fault(installation: Installation) -> None:
        slug = _newest(installation)
        installation.retire("receiver")  # so that no batch is accepted that goes with the stream
        until(lambda: settled(installation.whole, slug), "all that was accepted to be deposited")
        # One that looks between two steps of what follows takes the stream for another one, and may.
        if seen == "at once":
            stopped = installation.signal("dispatcher", SIGSTOP)
        else:
            installation.retire("dispatcher")
        stream = raw(slug)
        last = broker.last_offset(stream, deadline_s=AWAY_S)
        assert last is not None
        messages = [bytes(one.data) for one in broker.read(stream, 0, last, deadline_s=AWAY_S)]
        recreate(broker, stream, messages[: int(len(messages) * kept)])
        cursors[slug] = len(messages)
        installation.start("receiver")
        if seen == "at once":
            installation.kill(stopped, SIGCONT)
        else:

            def grown() -> bool:
                return (broker.last_offset(stream, deadline_s=AWAY_S) or 0) > len(messages)

            until(grown, "the stream to reach past the cursor")
            installation.start("dispatcher")

    attempt(installation, f"one raw stream × {kind}, {seen}", fault)
    ((slug, cursor),) = cursors.items()
    (begun,) = installation.whole.books(slug)["customers"][0]["generations"]
    assert (begun["kind"], begun["from_offset"], begun["expired"]) == (kind, int(cursor * kept), 0)


def _newest(installation: Installation) -> str:
    """A customer of this try that has agents at work."""
    query = "SELECT slug FROM customers c JOIN dispatch d ON d.customer_id = c.id WHERE d.next_offset > 0"
    with installation.engine.connect() as conn:
        slug: str = conn.execute(text(query + " ORDER BY c.id DESC LIMIT 1")).scalar_one()
    return slug


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

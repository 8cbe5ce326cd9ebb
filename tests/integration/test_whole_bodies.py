"""Bodies that came whole and wait for a thread, while the only one waits for a broker that is frozen."""

from pathlib import Path

import pytest

from deploy.local.rabbitmq import RabbitNode
from tests import receiver as receivers
from tests.receiver import until
from tests.slow import SlowAgent, answers, continued, crowd, head

BODY = b"x" * 60_000
MOST = 2_000_000
FIT = MOST // len(BODY)
CROWD = 3 * FIT
SETTINGS = {
    "SLUICE_HTTP_WORKERS": "1",
    "SLUICE_HTTP_THREADS": "1",
    "SLUICE_HTTP_BODY_BYTES": "1000000",
    "SLUICE_HTTP_BODIES_BYTES": str(MOST),
    "SLUICE_HTTP_PUBLISH_DEADLINE_S": "60",
}


def unread(agent: SlowAgent) -> int | None:
    """Bytes that the receiver has not read of what the agent sent; None before it accepted the agent."""
    mine, port = f":{agent.getsockname()[1]:04X}", f":{agent.getpeername()[1]:04X}"
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        row = line.split()
        if row[1].endswith(port) and row[2].endswith(mine):
            return int(row[4].partition(":")[2], 16) if row[9] != "0" else None
    return None


def go_round(port: int) -> None:
    """The receiver's main loop, which reads of all who have sent something, in turn."""
    with SlowAgent(port) as agent:
        for byte in b"POST":
            agent.sendall(bytes([byte]))
            until(lambda: unread(agent) == 0, "the main loop to go round")


@pytest.mark.parametrize("asks", [False, True], ids=["with the head", "after 100 Continue"])
def test_bodies_that_wait_for_a_thread_count_with_those_that_are_coming(
    mortal_node: RabbitNode, sqlite_url: str, tmp_path: Path, slug: str, asks: bool
) -> None:
    length = f"Content-Length: {len(BODY)}"
    with (
        receivers.home(sqlite_url, mortal_node) as home,
        receivers.running(tmp_path, {**home.environment, **SETTINGS}) as receiver,
        crowd(receiver.port, CROWD) as agents,
        SlowAgent(receiver.port) as first,
    ):
        key = home.add(slug)
        assert receiver.post(key, b"x").status_code == 202
        if asks:
            for agent in agents:
                agent.sendall(head(key, length, "Expect: 100-continue"))
            assert all(map(continued, agents))
        with receivers.frozen(mortal_node.pid):
            first.sendall(head(key, "Content-Length: 1") + b"x")
            for number, agent in enumerate(agents):
                name = f"Idempotency-Key: {number}"
                agent.sendall(BODY if asks else head(key, length, name) + BODY)
            go_round(receiver.port)
        assert answers(first, 1) == [202]
        found = [answers(agent, 1) for agent in agents]
    assert found.count([503]) >= CROWD - FIT - 2
    assert found.count([202]) >= FIT - 2
    assert found.count([202]) + found.count([503]) == CROWD

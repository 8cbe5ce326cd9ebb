"""Bodies for a stream with too much waiting are left with their agents, and no other stream's are."""

import socket
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from streams import raw
from streams.publishing.stream_publisher import StreamPublisher
from tests.receiver import DEADLINE_S, Home, until
from tests.served_loop import ServedLoop
from tests.slow import SlowAgent, answers, crowd, head
from webapp.receiving.publish_queue import STREAM_PART
from webapp.settings import MIB, HttpSettings

CROWD = 150
# More than is read at once, so that it is never whole with its head.
LARGE = 80_000
PUBLISH_S = 2.0
SHARE = 2 * MIB


class HeldConfirms:
    """The confirms of one stream, as if its broker sent none until `let_go`."""

    def __init__(self, stream: str, patch: pytest.MonkeyPatch) -> None:
        self._held: list[tuple[StreamPublisher, list[int]]] = []
        self._confirmed = confirmed = StreamPublisher.confirmed
        self._holding = True

        def hold(publisher: StreamPublisher, publishing_ids: Iterable[int]) -> None:
            if self._holding and publisher.stream == stream:
                self._held.append((publisher, list(publishing_ids)))
            else:
                confirmed(publisher, publishing_ids)

        patch.setattr(StreamPublisher, "confirmed", hold)

    def let_go(self, served: ServedLoop) -> None:
        def confirm() -> None:
            self._holding = False
            for publisher, publishing_ids in self._held:
                self._confirmed(publisher, publishing_ids)

        served.server._shared.loop.call_soon_threadsafe(confirm)


@pytest.fixture
def publish_s() -> float:
    return DEADLINE_S


@pytest.fixture
def served(home: Home, monkeypatch: pytest.MonkeyPatch, publish_s: float) -> Iterator[ServedLoop]:
    for name, value in home.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLUICE_STREAM_UNCONFIRMED_BYTES_PER_STREAM", "300000")
    served = ServedLoop(
        HttpSettings(
            key_wait_s=30, publish_deadline_s=publish_s, body_bytes=MIB, bodies_bytes=STREAM_PART * SHARE
        )
    )
    until(lambda: hasattr(served, "server"), "the server")
    yield served
    served.stop()


def batch(key: str, size: int) -> bytes:
    return head(key, f"Content-Length: {size}") + bytes(size)


def begin(agents: list[SlowAgent], key: str) -> None:
    for agent in agents:
        agent.sendall(head(key, f"Content-Length: {LARGE}"))


def send(agents: list[SlowAgent]) -> None:
    """Their bodies; of those that are paused, what the kernel takes."""
    for agent in agents:
        agent.sendall(bytes(LARGE))


@pytest.mark.parametrize("publish_s", [PUBLISH_S])
def test_a_stream_that_is_not_confirmed_keeps_its_bodies_with_its_agents_and_stops_nobody_else(
    served: ServedLoop, home: Home, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, other = home.add(slug), home.add(f"{slug}-other")
    HeldConfirms(raw(slug), monkeypatch)
    bodies, pauses = served.server._shared.bodies, served.server._shared.pauses
    queue = served.parts.reception.queue
    held, queued, answered, done = [0], [0], [0.0], threading.Event()

    def ask() -> list[int]:
        """Of another customer, all the time."""
        statuses = []
        with SlowAgent(served.port) as agent:
            while not done.is_set():
                for size in (13, LARGE):
                    agent.sendall(batch(other, size))
                    asked = time.monotonic()
                    statuses += answers(agent, 1)
                    answered.append(time.monotonic() - asked)
                held.append(bodies._held)
                queued.append(queue.held)
        return statuses

    with (
        crowd(served.port, CROWD) as agents,
        SlowAgent(served.port) as blocked,
        ThreadPoolExecutor(3) as pool,
    ):
        begin(agents, stuck)
        blocked.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        blocked.sendall(head(stuck, f"Content-Length: {MIB}"))
        asking, begun = pool.submit(ask), time.monotonic()
        sending = pool.submit(send, agents)
        until(lambda: any(body.paused for body in list(pauses._bodies)), "bodies to be paused")
        sending_more = pool.submit(blocked.sendall, bytes(MIB))
        try:
            first = agents[-1].recv(4096)
            assert time.monotonic() - begun >= PUBLISH_S - 0.5
            assert first.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nretry-after: " in first.lower()
            sending.result(DEADLINE_S)
            # One whose sending was stopped can send on, so that it comes to read its answer.
            sending_more.result(DEADLINE_S)
            assert answers(blocked, 1) == [503]
            assert [answers(agent, 1) for agent in agents[:-1]] == [[503]] * (CROWD - 1)
            assert time.monotonic() - begun < DEADLINE_S
        finally:
            done.set()
        assert {*asking.result(DEADLINE_S)} == {202}
    assert max(held) <= STREAM_PART * SHARE
    assert SHARE / 2 < max(queued) < SHARE / 2 + 2 * LARGE
    assert max(answered) < PUBLISH_S
    until(lambda: bodies._held == 0, "nothing to be held")


def test_bodies_that_were_paused_are_taken_when_confirms_come(
    served: ServedLoop, home: Home, slug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = home.add(slug)
    confirms = HeldConfirms(raw(slug), monkeypatch)
    pauses = served.server._shared.pauses
    with crowd(served.port, CROWD) as agents, ThreadPoolExecutor(1) as pool:
        begin(agents, key)
        sending = pool.submit(send, agents)
        until(lambda: any(body.paused for body in list(pauses._bodies)), "bodies to be paused")
        confirms.let_go(served)
        sending.result(DEADLINE_S)
        assert [answers(agent, 1) for agent in agents] == [[202]] * CROWD
        # The connections are kept.
        agents[-1].sendall(batch(key, LARGE))
        assert answers(agents[-1], 1) == [202]
    assert not pauses._bodies

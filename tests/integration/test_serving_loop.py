"""The receiver's loop in this process: one server on a free port, with the whole application behind it."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from flask import Response

from streams import Broker, StreamSettings
from tests.receiver import DEADLINE_S, Home, until
from tests.served_loop import ServedLoop
from tests.slow import SlowAgent, answers, continued, head
from webapp.serving import waiting_bodies
from webapp.settings import HttpSettings

BODY = b'{"event": 1}\n'
LARGE = 200_000


@pytest.fixture(scope="module")
def served(home: Home) -> Iterator[ServedLoop]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in home.environment.items():
            patch.setenv(name, value)
        served = ServedLoop(HttpSettings(body_bytes=1_000_000, body_deadline_s=3, key_wait_s=30))
    yield served
    served.stop()


@pytest.fixture(scope="module")
def key(home: Home) -> str:
    return home.add("on-the-loop")


def batch(key: str | None, *lines: str) -> bytes:
    return head(key, f"Content-Length: {len(BODY)}", *lines) + BODY


def test_requests_on_one_connection_are_answered_in_turn(served: ServedLoop, home: Home, key: str) -> None:
    alive = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    names = [f"Idempotency-Key: turn-{number}" for number in range(5)]
    with SlowAgent(served.port) as agent:
        requests = b"".join(batch(key, name) + alive + batch(None) for name in names)
        # The key is known from here on: what comes while one is answered is read, and is a part of the next.
        agent.sendall(batch(key))
        assert answers(agent, 1) == [202]
        for begin in range(0, len(requests), 300):
            agent.sendall(requests[begin : begin + 300])
            time.sleep(0.001)
        agent.shutdown(socket.SHUT_WR)
        assert answers(agent, 15) == [202, 200, 401] * 5
        assert agent.recv(1) == b""
    kept = [envelope.batch_id for envelope in home.envelopes("on-the-loop")]
    assert [name for name in kept if name.startswith("turn-")] == [f"turn-{n}" for n in range(5)]


CHUNKED = [b"d\r\n" + BODY, b"\r\n0\r\n", b"\r\n"]
IN_PIECES = {
    "a length": ("Content-Length: 13", [BODY[:3], BODY[3:]]),
    "a large one": (f"Content-Length: {LARGE}", [bytes(LARGE // 2)] * 2),
    "chunks": ("Transfer-Encoding: chunked", CHUNKED),
}


@pytest.mark.parametrize(("line", "pieces"), IN_PIECES.values(), ids=IN_PIECES.keys())
@pytest.mark.parametrize("asks", [False, True], ids=["", "after 100 Continue"])
def test_a_body_comes_in_pieces(
    served: ServedLoop, key: str, line: str, pieces: list[bytes], asks: bool
) -> None:
    with SlowAgent(served.port) as agent:
        for _ in range(2):
            agent.sendall(head(key, line, *(["Expect: 100-continue"] if asks else [])))
            assert not asks or continued(agent)
            for piece in pieces:
                agent.sendall(piece)
            assert answers(agent, 1) == [202]


def test_a_refused_head_waits_for_a_small_body_only(
    served: ServedLoop, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience = partial(monkeypatch.setattr, waiting_bodies, "EARLY_S")
    patience(2 * DEADLINE_S)
    unwanted = served.server._shared.bodies._unwanted
    with SlowAgent(served.port) as agent:
        agent.sendall(head(None, "Content-Length: 13"))
        until(lambda: unwanted, "the head to be refused")
        agent.sendall(BODY)
        assert answers(agent, 1) == [401]
        agent.sendall(head(None, "Content-Length: 13"))
        until(lambda: unwanted, "the head to be refused")
        patience(0.0)
        assert answers(agent, 2) == [401]
    patience(2 * DEADLINE_S)
    with SlowAgent(served.port) as agent:
        agent.sendall(head(None, f"Content-Length: {LARGE}"))
        assert answers(agent, 2) == [401]


ENDED: dict[str, tuple[list[str], bytes, int]] = {
    "early": (["Content-Length: 100"], BODY, 400),
    "at a malformed chunk": (["Transfer-Encoding: chunked"], b"x\r\n", 400),
    "beyond the limit": (["Transfer-Encoding: chunked"], b"fffff\r\n" + bytes(0xFFFFF), 413),
    "at once": (["Content-Length: 1000001"], b"", 413),
    "without a coding that is known": (["Transfer-Encoding: rot13"], b"", 501),
}


@pytest.mark.parametrize(("lines", "body", "status"), ENDED.values(), ids=ENDED.keys())
def test_a_body_that_is_none_is_refused(
    served: ServedLoop, key: str, lines: list[str], body: bytes, status: int
) -> None:
    with SlowAgent(served.port) as agent:
        agent.sendall(head(key, *lines) + body)
        agent.shutdown(socket.SHUT_WR)
        assert answers(agent, 2) == [status]


def test_a_body_that_does_not_come_is_refused_at_its_deadline(served: ServedLoop, key: str) -> None:
    with SlowAgent(served.port) as agent:
        agent.sendall(head(key, "Content-Length: 100") + BODY)
        assert answers(agent, 2) == [408]


def test_what_waits_for_a_server_is_asked_beside_the_loop(served: ServedLoop, key: str) -> None:
    with SlowAgent(served.port) as asking, SlowAgent(served.port) as agent:
        asking.sendall(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        agent.sendall(batch(key))
        assert answers(agent, 1) == [202]
        assert answers(asking, 2) == [200]


def test_batches_beyond_what_waits_for_a_confirm_wait_for_their_turn(
    home: Home, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in home.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("SLUICE_STREAM_UNCONFIRMED_BYTES_PER_STREAM", "300000")
    served = ServedLoop(HttpSettings(key_wait_s=30, publish_deadline_s=30))
    try:
        agents = [SlowAgent(served.port) for _ in range(12)]
        for agent in agents:
            agent.sendall(head(key, f"Content-Length: {LARGE}") + bytes(LARGE))
        assert [answers(agent, 1) for agent in agents] == [[202]] * 12
        for agent in agents:
            agent.close()
    finally:
        served.stop()


def test_a_stop_answers_what_has_begun(home: Home, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in home.environment.items():
        monkeypatch.setenv(name, value)
    served = ServedLoop(HttpSettings(key_wait_s=30))
    with SlowAgent(served.port) as agent, SlowAgent(served.port) as idle:
        agent.sendall(head(key, f"Content-Length: {len(BODY)}", "Expect: 100-continue"))
        assert continued(agent)
        stopping = threading.Thread(target=served.stop)
        stopping.start()
        until(lambda: served.stopping.is_set(), "the stop to begin")
        agent.sendall(BODY)
        assert answers(agent, 2) == [202]
        agent.close()
        assert answers(idle, 1) == []
        stopping.join(DEADLINE_S)
        assert not stopping.is_alive()


def test_a_broker_on_its_hosts_loop_answers_before_while_and_after_it_runs(home: Home, key: str) -> None:
    broker = Broker(
        StreamSettings(url=home.environment["STREAM_URL"], broker_url=home.environment["BROKER_URL"])
    )
    loop = asyncio.new_event_loop()
    broker.live_on(loop)
    assert broker.ready(DEADLINE_S)

    async def ask() -> bool:
        with pytest.raises(RuntimeError):
            broker.ready(DEADLINE_S)
        return await asyncio.to_thread(broker.ready, DEADLINE_S)

    assert loop.run_until_complete(ask())
    broker.close()
    loop.close()


def test_a_failure_after_the_confirm_is_an_answer_and_no_neighbours(
    served: ServedLoop, home: Home, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    neighbour = home.add("beside-a-failure")
    count = served.parts.counts.count

    def failing(slug: str, *given: Any, **named: Any) -> None:
        if slug == "on-the-loop":
            raise OSError("no lock")
        count(slug, *given, **named)

    monkeypatch.setattr(served.parts.counts, "count", failing)
    with SlowAgent(served.port) as agent, SlowAgent(served.port) as other:
        agent.sendall(batch(key))
        other.sendall(batch(neighbour))
        assert answers(agent, 1) == [500]
        assert answers(other, 1) == [202]
    monkeypatch.undo()
    with SlowAgent(served.port) as agent:
        agent.sendall(batch(key))
        assert answers(agent, 1) == [202]


def test_an_application_that_fails_behind_the_view_keeps_no_admission(
    served: ServedLoop, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = home.add("one-at-a-time")
    home.limit("one-at-a-time", concurrent_requests=1)

    def fail(response: Response) -> Response:
        raise OSError("no answer")

    with SlowAgent(served.port) as agent:
        with monkeypatch.context() as patch:
            patch.setitem(served.app.after_request_funcs, None, [fail])
            agent.sendall(batch(key))
            assert answers(agent, 1) == [500]
        agent.sendall(batch(key))
        assert answers(agent, 1) == [202]

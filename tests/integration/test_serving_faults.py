"""What one agent, one callback or one look-up does on a receiver's loop, and what its neighbours notice."""

import asyncio
import logging
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence, Sized
from functools import partial
from typing import Any

import pytest
from flask import Response, request

from db.customers.keys import digest
from tests.receiver import DEADLINE_S, Home, until
from tests.served_loop import ServedLoop
from tests.slow import SlowAgent, answers, continued, head
from webapp.serving.shared import Shared
from webapp.settings import HttpSettings

BODY = b'{"event": 1}\n'
ALIVE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
LARGE = 100_000


@pytest.fixture
def serve(home: Home, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ServedLoop]]:
    begun: list[ServedLoop] = []

    def start(**settings: Any) -> ServedLoop:
        for name, value in home.environment.items():
            monkeypatch.setenv(name, value)
        begun.append(ServedLoop(HttpSettings(**({"key_wait_s": 30} | settings))))
        return begun[-1]

    yield start
    for served in begun:
        served.stop()


@pytest.fixture(scope="module")
def key(home: Home) -> str:
    return home.add("faults")


def batch(key: str | None, *lines: str) -> bytes:
    return head(key, f"Content-Length: {len(BODY)}", *lines) + BODY


def shared(served: ServedLoop) -> Shared[Any]:
    until(lambda: hasattr(served, "server"), "the server")
    return served.server._shared


def _are(found: Sized, count: int) -> bool:
    return len(found) == count


def reset(agent: socket.socket) -> None:
    agent.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    agent.close()


def test_an_agent_that_hangs_up_holds_its_batch_until_it_is_confirmed(
    serve: Callable[..., ServedLoop], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve()
    confirms: list[Callable[[None], None]] = []
    monkeypatch.setattr(
        served.parts.reception.queue, "publish", lambda _stream, _message, _s, done: confirms.append(done)
    )
    bodies = shared(served).bodies
    for sent in range(1, 6):
        agent = SlowAgent(served.port)
        agent.sendall(head(key, f"Content-Length: {LARGE}") + bytes(LARGE))
        until(partial(_are, confirms, sent), "the batch to be published")
        reset(agent)
    until(lambda: shared(served).count == 0, "the agents to be gone")
    assert bodies._held == 5 * LARGE
    for done in confirms:
        shared(served).loop.call_soon_threadsafe(done, None)
    until(lambda: bodies._held == 0, "the batches to be let go")


def test_an_agent_that_ends_and_does_not_read_is_given_up(serve: Callable[..., ServedLoop]) -> None:
    served = serve()
    asking = b"GET /problems/unauthenticated HTTP/1.1\r\nHost: x\r\n\r\n"
    with socket.socket() as agent:
        agent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        agent.settimeout(DEADLINE_S)
        agent.connect(("127.0.0.1", served.port))
        transports = shared(served)
        until(lambda: transports.count == 1, "the connection")
        [connection] = transports._heads
        # Little is taken by the kernel, so that answers wait here.
        sock = connection.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2048)
        agent.sendall(asking * 100 + b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        agent.shutdown(socket.SHUT_WR)
        until(lambda: connection.transport.get_write_buffer_size() > 0, "answers to wait")
        until(lambda: transports.count == 0, "it to be given up", deadline_s=20)


def test_a_look_up_that_comes_late_decides_no_later_request(
    serve: Callable[..., ServedLoop], home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = home.add("late-first"), home.add("late-second")
    served = serve(key_wait_s=1.0)
    find = served.parts.keys._find
    gates = {digest(first): threading.Event(), digest(second): threading.Event()}

    def gated(digests: Sequence[bytes]) -> Any:
        for one in gates.keys() & digests:
            gates[one].wait(DEADLINE_S)
        return find(digests)

    monkeypatch.setattr(served.parts.keys, "_find", gated)
    try:
        with SlowAgent(served.port) as agent:
            agent.sendall(batch(first))
            assert answers(agent, 1) == [503]
            served.parts.keys._away = False
            # Its look-up stands behind the first one, which has been given up.
            agent.sendall(batch(second))
            until(lambda: digest(second) in served.parts.keys._new_lookups._pending, "the look-up to begin")
            gates[digest(first)].set()
            until(lambda: digest(first) not in served.parts.keys._new_lookups._pending, "the first to end")
            gates[digest(second)].set()
            assert answers(agent, 1) == [202]
    finally:
        for gate in gates.values():
            gate.set()


def test_what_fails_for_one_connection_is_nobody_elses(
    serve: Callable[..., ServedLoop], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the sweep that gives up bodies, which runs for all."""
    served = serve(body_deadline_s=0.5)

    def fail(*_given: Any) -> None:
        raise OSError("no answer")

    with SlowAgent(served.port) as slow, SlowAgent(served.port) as agent:
        slow.sendall(head(key, f"Content-Length: {LARGE}", "Expect: 100-continue"))
        assert continued(slow)
        with monkeypatch.context() as patch:
            patch.setattr(shared(served).application, "answer", fail)
            assert answers(slow, 1) == []
        agent.sendall(batch(key))
        assert answers(agent, 1) == [202]
        until(lambda: shared(served).count == 1, "the other to be gone")
    until(lambda: shared(served).bodies._held == 0, "nothing to be held")


def test_what_runs_behind_an_answer_cannot_take_it_back(
    serve: Callable[..., ServedLoop], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve()

    def fail() -> None:
        raise OSError("no collector")

    def close_badly(response: Response) -> Response:
        if request.path == "/v1/batches":
            response.call_on_close(fail)
        return response

    monkeypatch.setitem(served.app.after_request_funcs, None, [close_badly])
    with SlowAgent(served.port) as agent:
        for _ in range(2):
            agent.sendall(batch(key) + ALIVE)
            assert answers(agent, 2) == [202, 200]


def test_a_body_that_still_comes_at_the_end_of_a_stop_is_refused(
    serve: Callable[..., ServedLoop], key: str
) -> None:
    served = serve()
    with SlowAgent(served.port) as agent:
        agent.sendall(head(key, f"Content-Length: {LARGE}", "Expect: 100-continue"))
        assert continued(agent)
        served.stop_s = 3.0
        served.stopping.set()
        assert answers(agent, 1) == [503]


def test_chunks_are_not_read_of_an_agent_without_a_key(
    serve: Callable[..., ServedLoop], key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = serve()
    small = b"".join(b"1\r\nx\r\n" for _ in range(8000))
    with SlowAgent(served.port) as agent, SlowAgent(served.port) as stranger:
        # More than is read at once, in steps, and a request behind it.
        agent.sendall(head(key, "Transfer-Encoding: chunked") + small + b"0\r\n\r\n" + batch(key))
        assert answers(agent, 2) == [202, 202]
        monkeypatch.setattr("webapp.serving.framing.ChunkedBody.feed", None)
        stranger.sendall(head(None, "Transfer-Encoding: chunked") + small[:60])
        assert answers(stranger, 1) == [401]


def test_an_error_of_accept_is_a_pause_or_another_connections(serve: Callable[..., ServedLoop]) -> None:
    served = serve()
    server = served.server if shared(served) else None
    assert server is not None

    class _Refusing:
        def __init__(self, number: int) -> None:
            self.number = number

        def accept(self) -> None:
            raise OSError(self.number, "said")

    async def meet(number: int) -> bool:
        server._accept(_Refusing(number))  # type: ignore[arg-type] # only `accept` is asked for
        return server._accepts

    for number, accepts in ((71, True), (113, True), (105, False)):  # EPROTO, EHOSTUNREACH, ENOBUFS
        found = asyncio.run_coroutine_threadsafe(meet(number), shared(served).loop)
        assert found.result(DEADLINE_S) is accepts
    with SlowAgent(served.port) as agent:
        agent.sendall(ALIVE)
        assert answers(agent, 1) == [200]


def test_an_agent_that_has_hung_up_before_its_answer_is_no_failure(
    serve: Callable[..., ServedLoop], caplog: pytest.LogCaptureFixture
) -> None:
    """The kernel answers what is written with a reset, before our end is told."""
    served = serve()
    loop = shared(served).loop
    for _ in range(10):
        held = threading.Event()
        loop.call_soon_threadsafe(held.wait, DEADLINE_S)
        try:
            with SlowAgent(served.port) as agent:
                agent.sendall(b"NONE\r\n\r\n")
        finally:
            held.set()
    with SlowAgent(served.port) as agent:
        agent.sendall(ALIVE)
        assert answers(agent, 1) == [200]
    until(lambda: shared(served).count == 0, "the agents to be gone")
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []

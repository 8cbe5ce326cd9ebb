"""Connections that are slow, or never end: a receiver with one process of 32 threads has none for them."""

import contextlib
import re
import resource
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import receiver as receivers
from tests.receiver import DEADLINE_S, Home, Receiver, until

BODY = b'{"event": 1}\n'
ALIVE = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
ASKING = b"GET /problems/unauthenticated HTTP/1.1\r\nHost: x\r\n\r\n"
CLOSING = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
BEGUN = b"POST /v1/batches HTTP/1.1\r\nHost: x\r\nX-Slow: "


@pytest.fixture(scope="module")
def receiver(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    environment = {**home.environment, "SLUICE_HTTP_WORKERS": "1"}
    with receivers.running(tmp_path_factory.mktemp("receiver"), environment) as receiver:
        yield receiver


@pytest.fixture(scope="module")
def key(home: Home) -> str:
    return home.add("slow")


def connect(receiver: Receiver) -> socket.socket:
    agent = socket.create_connection(("127.0.0.1", receiver.port), timeout=DEADLINE_S)
    agent.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return agent


@contextlib.contextmanager
def crowd(receiver: Receiver, size: int) -> Iterator[list[socket.socket]]:
    agents = [connect(receiver) for _ in range(size)]
    try:
        yield agents
    finally:
        for agent in agents:
            agent.close()


def answers(agent: socket.socket, count: int) -> list[int]:
    """The statuses of the next answers."""
    came = b""
    while len(found := re.findall(rb"HTTP/1\.1 (\d{3}) ", came)) < count and (data := agent.recv(65536)):
        came += data
    return [int(status) for status in found]


def whole(key: str) -> bytes:
    lines = ["Host: x", f"Authorization: Bearer {key}", "Content-Type: application/x-ndjson"]
    head = ["POST /v1/batches HTTP/1.1", *lines, f"Content-Length: {len(BODY)}", "", ""]
    return "\r\n".join(head).encode() + BODY


@pytest.mark.parametrize(
    ("sent", "answered"),
    [(b"", []), (BEGUN, []), (b"\r\n\r\n", []), (ALIVE + BEGUN, [200])],
    ids=["silent", "begun", "empty lines", "begun behind another request"],
)
@pytest.mark.parametrize("flags", [0, socket.MSG_OOB], ids=["", "urgent"])
def test_heads_that_never_end_keep_nobody_waiting(
    receiver: Receiver, key: str, sent: bytes, answered: list[int], flags: int
) -> None:
    with crowd(receiver, 300) as agents:
        for agent in agents:
            agent.send(sent, flags)
        for agent in agents:
            assert answers(agent, len(answered)) == answered
        assert receiver.post(key, BODY).status_code == 202


@pytest.mark.parametrize(
    ("lines", "status"),
    [(("GET /healthz", "Content-Length: 1000"), 200), (("POST /v1/batches", "Content-Length: 1000"), 401)],
    ids=["of GET", "of a stranger"],
)
def test_bodies_that_nobody_reads_are_not_waited_for(
    receiver: Receiver, key: str, lines: tuple[str, str], status: int
) -> None:
    request, length = lines
    with crowd(receiver, 300) as agents:
        for agent in agents:
            agent.sendall(f"{request} HTTP/1.1\r\nHost: x\r\n{length}\r\n\r\n".encode())
        for agent in agents:
            # More of it, and never all: the wait for each byte begins anew.
            agent.sendall(b"x")
            answer = b""
            while b"\r\n\r\n" not in answer:
                answer += agent.recv(65536)
            assert answer.startswith(f"HTTP/1.1 {status} ".encode())
            assert b"connection: close" in answer.lower()
        assert receiver.post(key, BODY).status_code == 202


def test_a_body_that_nobody_reads_but_came_does_not_cost_its_connection(receiver: Receiver) -> None:
    refused = b"POST /v1/batches HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nabcde"
    with contextlib.closing(connect(receiver)) as agent:
        for _ in range(10):
            agent.sendall(refused)
            assert answers(agent, 1) == [401]


def test_agents_that_never_read_their_answers_keep_nobody_waiting(
    home: Home, key: str, tmp_path: Path
) -> None:
    environment = {**home.environment, "SLUICE_HTTP_WORKERS": "1", "SLUICE_HTTP_THREADS": "2"}
    asking = ASKING * 20_000
    with receivers.running(tmp_path, environment) as receiver, contextlib.ExitStack() as stack:
        for _ in range(2):
            agent = stack.enter_context(socket.socket())
            agent.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1024)
            agent.connect(("127.0.0.1", receiver.port))
            agent.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                agent.send(asking)
        # Until the receiver has hung up, or waits for them to read.
        until(lambda: rests(receiver.workers()[0]), "the receiver to have answered what it can")
        assert receiver.post(key, BODY).status_code == 202


def rests(pid: int) -> bool:
    """Whether the process needs no processor for a second."""
    before = processor_ticks(pid)
    time.sleep(1)
    return processor_ticks(pid) - before <= 2


def processor_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_agents_that_do_not_hang_up_keep_nobody_waiting(receiver: Receiver, key: str) -> None:
    with crowd(receiver, 500) as agents:
        for agent in agents:
            agent.sendall(CLOSING)
        for agent in agents:
            assert answers(agent, 1) == [200]
        assert receiver.post(key, BODY).status_code == 202


def test_a_head_in_pieces_is_a_head(receiver: Receiver, key: str) -> None:
    """Cut at many places, and byte for byte; the answer to another connection comes between the pieces."""
    request = whole(key)
    for cut in range(1, len(request), 3):
        with contextlib.closing(connect(receiver)) as agent:
            agent.sendall(request[:cut])
            assert receiver.get("/healthz").status_code == 200
            agent.sendall(request[cut:])
            assert answers(agent, 1) == [202]
    with contextlib.closing(connect(receiver)) as agent:
        for byte in request * 3:
            agent.sendall(bytes([byte]))
        assert answers(agent, 3) == [202] * 3


def test_a_head_that_ends_early_ends_its_connection(receiver: Receiver) -> None:
    with contextlib.closing(connect(receiver)) as agent:
        agent.sendall(BEGUN)
        assert receiver.get("/healthz").status_code == 200
        agent.shutdown(socket.SHUT_WR)
        assert answers(agent, 1) in ([], [400])


@pytest.mark.parametrize(
    ("head", "status"),
    [
        (BEGUN + b"x" * 33_000, 431),
        (BEGUN + b"x" * 200_000, 431),
        (b"GET /healthz HTTP/1.1\nHost: x\n\n", 400),
        (b"\r\n\r\n\r\n", 400),
    ],
    ids=["long", "very long", "line feeds", "empty lines"],
)
def test_a_head_that_is_none_is_answered(receiver: Receiver, head: bytes, status: int) -> None:
    with contextlib.closing(connect(receiver)) as agent:
        with contextlib.suppress(ConnectionError):
            agent.sendall(head)
        assert answers(agent, 1) == [status]


def meet_the_bound(receiver: Receiver) -> None:
    words = "no file descriptor is left"
    said = receiver.log.read_text().count(words)
    with crowd(receiver, 100):
        until(lambda: receiver.log.read_text().count(words) > said, "the bound to be met")


def test_a_receiver_without_file_descriptors_waits_for_some(home: Home, key: str, tmp_path: Path) -> None:
    with receivers.running(tmp_path, {**home.environment, "SLUICE_HTTP_WORKERS": "1"}) as receiver:
        assert receiver.post(key, BODY).status_code == 202
        [pid] = receiver.workers()
        few = len(list(Path(f"/proc/{pid}/fd").iterdir())) + 20
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (few, few))
        for _ in range(2):
            meet_the_bound(receiver)
            assert receiver.post(key, BODY).status_code == 202
        with crowd(receiver, 10) as agents:
            for agent in agents:
                agent.sendall(ALIVE)
            assert [answers(agent, 1) for agent in agents] == [[200]] * 10
        assert receiver.workers() == [pid]


def test_an_agent_that_is_still_sending_is_not_cut_off_before_it_reads_its_answer(receiver: Receiver) -> None:
    head = b"POST /v1/batches HTTP/1.1\r\nHost: x\r\nContent-Length: 4000000\r\n\r\n"
    with contextlib.closing(connect(receiver)) as agent:
        agent.sendall(head)
        assert agent.recv(1, socket.MSG_PEEK) == b"H"
        for _ in range(60):
            agent.sendall(bytes(1000))
        assert answers(agent, 1) == [401]


def test_a_stop_does_not_wait_for_connections_without_a_request(home: Home, tmp_path: Path) -> None:
    patient = {"SLUICE_HTTP_GRACEFUL_S": "600", "SLUICE_HTTP_DRAIN_S": "0", "SLUICE_HTTP_KEEPALIVE_S": "600"}
    with (
        receivers.running(tmp_path, {**home.environment, **patient}) as receiver,
        crowd(receiver, 10) as agents,
    ):
        for agent in agents[:5]:
            agent.sendall(BEGUN)
        assert receiver.get("/healthz").status_code == 200
        receiver.process.send_signal(signal.SIGTERM)
        assert receiver.process.wait(DEADLINE_S) == 0

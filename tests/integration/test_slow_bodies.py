"""Bodies that are slow, or never come: a receiver with one process of 32 threads spends none on them."""

import contextlib
import hashlib
import socket
from collections.abc import Iterator

import pytest

from streams import made_id
from tests import receiver as receivers
from tests.receiver import Home, Receiver
from tests.slow import SlowAgent, answers, continued, crowd, head

BODY = b'{"event": 1}\n'
CROWD = 300
THREADS = 32
PATIENT = {"SLUICE_HTTP_WORKERS": "1", "SLUICE_HTTP_BODY_DEADLINE_S": "600", "SLUICE_HTTP_BODY_RATE": "0"}


@pytest.fixture(scope="module")
def receiver(home: Home, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Receiver]:
    """It waits for bodies for as long as these tests take."""
    with receivers.running(tmp_path_factory.mktemp("receiver"), {**home.environment, **PATIENT}) as receiver:
        yield receiver


@pytest.fixture(scope="module")
def key(home: Home) -> str:
    return home.add("slow-bodies")


LARGE = 200_000
# The lines that announce a body, what comes of it, and what comes at last.
SLOW: dict[str, tuple[str, bytes, bytes]] = {
    "a small one that never begins": ("Content-Length: 13", b"", BODY),
    "a small one that stops": ("Content-Length: 13", BODY[:5], BODY[5:]),
    "a large one that never begins": (f"Content-Length: {LARGE}", b"", b"x" * LARGE),
    "a large one that stops": (f"Content-Length: {LARGE}", b"x" * 50_000, b"x" * (LARGE - 50_000)),
    "chunks that never begin": ("Transfer-Encoding: chunked", b"", b"d\r\n" + BODY + b"\r\n0\r\n\r\n"),
    "chunks that stop in one": ("Transfer-Encoding: chunked", b"d\r\n{", BODY[1:] + b"\r\n0\r\n\r\n"),
    "chunks without the last": ("Transfer-Encoding: chunked", b"d\r\n" + BODY + b"\r\n", b"0\r\n\r\n"),
}


@pytest.mark.parametrize(("line", "sent", "rest"), SLOW.values(), ids=SLOW.keys())
def test_bodies_that_do_not_come_keep_nobody_waiting_and_are_taken_when_they_come(
    receiver: Receiver, key: str, line: str, sent: bytes, rest: bytes
) -> None:
    with crowd(receiver.port, CROWD) as agents:
        for agent in agents:
            agent.sendall(head(key, line) + sent)
        for _ in range(3):
            assert receiver.post(key, BODY).status_code == 202
            assert receiver.get("/readyz").status_code == 200
        for agent in agents:
            agent.sendall(rest)
        for agent in agents:
            assert answers(agent, 1) == [202]


def test_bodies_that_trickle_keep_nobody_waiting(receiver: Receiver, key: str) -> None:
    with crowd(receiver.port, CROWD) as agents:
        for agent in agents:
            agent.sendall(head(key, "Content-Length: 1000"))
        for _ in range(5):
            for agent in agents:
                agent.sendall(b"x")
            assert receiver.post(key, BODY).status_code == 202


def test_strangers_without_their_bodies_keep_nobody_waiting(receiver: Receiver, key: str) -> None:
    """A batch that comes behind more of them than there are threads is answered before they are."""
    before_them = False
    for _ in range(20):
        with crowd(receiver.port, CROWD) as agents, SlowAgent(receiver.port) as batch:
            for agent in agents:
                agent.sendall(head(None, "Content-Length: 1000"))
            batch.sendall(head(key, f"Content-Length: {len(BODY)}") + BODY)
            assert answers(batch, 1) == [202]
            waiting = 0
            for agent in agents:
                agent.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    agent.recv(1, socket.MSG_PEEK)
                    continue
                waiting += 1
            for agent in agents:
                agent.settimeout(60)
                assert answers(agent, 1) == [401]
            if before_them := waiting > THREADS:
                break
    assert before_them, "strangers who send nothing are served before it, in all the threads"


def test_a_body_in_pieces_is_a_body(receiver: Receiver, home: Home) -> None:
    """Cut at many places, and byte for byte, with another request behind it."""
    key = home.add("pieces")
    body = bytes(range(256)) * 2
    chunked = b"".join(
        b"%x;a=b\r\n%s\r\n" % (len(part), part) for part in (body[:7], body[7:300], body[300:])
    )
    behind = head(key, "Content-Length: 13", "Idempotency-Key: behind") + BODY
    requests = [
        head(key, f"Content-Length: {len(body)}") + body,
        head(key, "Transfer-Encoding: chunked") + chunked + b"0\r\nX-Sum: 1\r\n\r\n",
    ]
    for request in requests:
        begin = request.index(b"\r\n\r\n") + 4
        for cut in (*range(begin - 2, len(request), 41), *range(len(request) - 16, len(request))):
            with SlowAgent(receiver.port) as agent:
                agent.sendall(request[:cut])
                assert receiver.get("/healthz").status_code == 200
                agent.sendall(request[cut:] + behind)
                assert answers(agent, 2) == [202, 202]
        with SlowAgent(receiver.port) as agent:
            for byte in request + request + behind:
                agent.sendall(bytes([byte]))
            assert answers(agent, 3) == [202] * 3
    kept = {(one.batch_id, bytes(one.body)) for one in home.envelopes("pieces")}
    assert kept == {(made_id(hashlib.sha256(body).digest(), "ndjson", ""), body), ("behind", BODY)}


@pytest.mark.parametrize("state", ["stranger", "blocked", "limited"])
def test_a_refusal_that_the_head_decides_does_not_wait_for_a_slow_body(
    receiver: Receiver, home: Home, slug: str, state: str
) -> None:
    key = None if state == "stranger" else home.add(slug)
    if state == "blocked":
        home.state(slug, "blocked")
    elif state == "limited":
        home.limit(slug, daily_bytes=1)
        assert key
        assert receiver.post(key, b"x").status_code == 202
    status = {"stranger": 401, "blocked": 403, "limited": 429}[state]
    for line in (f"Content-Length: {LARGE}", "Transfer-Encoding: chunked", "Content-Length: 10"):
        with SlowAgent(receiver.port) as agent:
            agent.sendall(head(key, line))
            assert answers(agent, 1) == [status]
            agent.sendall(b"5\r\nhello")
            assert answers(agent, 1) == []


def test_what_a_slow_body_holds_of_a_limit_is_given_back(receiver: Receiver, home: Home, slug: str) -> None:
    key = home.add(slug)
    home.limit(slug, concurrent_requests=1)
    for _ in range(3):
        with SlowAgent(receiver.port) as slow:
            slow.sendall(head(key, f"Content-Length: {LARGE}", "Expect: 100-continue"))
            assert continued(slow)
            slow.sendall(b"x")
            assert receiver.post(key, BODY).status_code == 429
        receivers.until(lambda: receiver.post(key, BODY).status_code == 202, "the slow one to be gone")


def test_a_body_that_is_too_slow_is_refused_before_its_deadline(
    home: Home, key: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    settings = {"SLUICE_HTTP_WORKERS": "1", "SLUICE_HTTP_BODY_DEADLINE_S": "600"}
    with (
        receivers.running(tmp_path_factory.mktemp("rate"), {**home.environment, **settings}) as receiver,
        crowd(receiver.port, 40) as agents,
    ):
        for agent in agents:
            agent.sendall(head(key, f"Content-Length: {LARGE}") + b"x" * 100)
        for agent in agents:
            assert answers(agent, 1) == [408]


def test_bodies_together_have_a_bound_and_the_slowest_gives_way(
    home: Home, key: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bound = {**PATIENT, "SLUICE_HTTP_BODY_BYTES": "1000000", "SLUICE_HTTP_BODIES_BYTES": "2000000"}
    with (
        receivers.running(tmp_path_factory.mktemp("bound"), {**home.environment, **bound}) as receiver,
        crowd(receiver.port, 12) as agents,
    ):
        for agent in agents:
            # One after the other: the first is the one that comes for longest.
            agent.sendall(head(key, "Content-Length: 900000", "Expect: 100-continue"))
            assert continued(agent)
        for agent in agents:
            agent.sendall(b"x" * 890_000)
        for agent in agents[:9]:
            answer = agent.recv(65536)
            assert answer.startswith(b"HTTP/1.1 503 ")
            assert b"\r\nretry-after: " in answer.lower()
        assert receiver.post(key, b"x" * 900_000).status_code == 202
        agents[-1].sendall(b"x" * 10_000)
        assert answers(agents[-1], 1) == [202]

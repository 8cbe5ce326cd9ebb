"""What the head of a request decides is decided by it, and a page may read every refusal."""

import re

import pytest

from tests.receiver import Home, Receiver
from tests.slow import SlowAgent, answers, head

BODY = b'{"event": 1}\n'
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@pytest.fixture(scope="module")
def key(home: Home) -> str:
    return home.add("heads")


def said(receiver: Receiver, request: bytes) -> bytes:
    """All that comes back until the receiver hangs up."""
    came = b""
    with SlowAgent(receiver.port) as agent:
        agent.sendall(request)
        while data := agent.recv(65536):
            came += data
    return came


REFUSED = {
    "no key": (False, ["Content-Length: 13"], "/v1/batches", 401),
    "an unknown path": (True, ["Content-Length: 13"], "/v1/nothing", 404),
    "too large": (True, ["Content-Length: 99999999"], "/v1/batches", 413),
    "an unknown encoding": (True, ["Content-Length: 13", "Content-Encoding: lzma"], "/v1/batches", 415),
    "a bad batch id": (True, ["Content-Length: 13", "Idempotency-Key: a b"], "/v1/batches", 400),
    "chunks without a key": (False, ["Transfer-Encoding: chunked"], "/v1/traces", 401),
}


@pytest.mark.parametrize(("keyed", "lines", "path", "status"), REFUSED.values(), ids=REFUSED.keys())
def test_no_body_is_asked_for_that_the_head_refuses(
    receiver: Receiver, key: str, keyed: bool, lines: list[str], path: str, status: int
) -> None:
    came = said(receiver, head(key if keyed else None, *lines, "Expect: 100-continue", path=path))
    assert came.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"connection: close" in came.lower()


def test_no_body_of_a_customer_who_is_blocked_is_asked_for(receiver: Receiver, home: Home, slug: str) -> None:
    key = home.add(slug)
    home.state(slug, "blocked")
    came = said(receiver, head(key, "Content-Length: 13", "Expect: 100-continue"))
    assert came.startswith(b"HTTP/1.1 403 ")


def test_no_body_beyond_a_limit_is_asked_for(receiver: Receiver, home: Home, slug: str) -> None:
    key = home.add(slug)
    home.limit(slug, daily_bytes=1)
    assert receiver.post(key, b"x").status_code == 202
    came = said(receiver, head(key, "Content-Length: 13", "Expect: 100-continue"))
    assert came.startswith(b"HTTP/1.1 429 ")
    assert b"\r\nretry-after: " in came.lower()


@pytest.mark.parametrize(
    ("line", "body"),
    [
        ("Content-Length: 13", BODY),
        ("Content-Length: 300000", b"x" * 300_000),
        ("Transfer-Encoding: chunked", b"d\r\n" + BODY + b"\r\n0\r\n\r\n"),
    ],
    ids=["small", "large", "chunks"],
)
def test_a_body_that_is_wanted_is_asked_for_once(
    receiver: Receiver, key: str, line: str, body: bytes
) -> None:
    with SlowAgent(receiver.port) as agent:
        for _ in range(2):
            agent.sendall(head(key, line, "Expect: 100-continue"))
            assert agent.recv(len(CONTINUE)) == CONTINUE
            agent.sendall(body)
            assert answers(agent, 1) == [202]


def test_a_body_that_came_is_not_asked_for(receiver: Receiver, key: str) -> None:
    with SlowAgent(receiver.port) as agent:
        agent.sendall(head(key, "Content-Length: 13", "Expect: 100-continue") + BODY)
        assert answers(agent, 1) == [202]


HOSTLESS = {
    "a batch": ("POST /v1/batches HTTP/1.1", 400),
    "an export": ("POST /v1/traces HTTP/1.1", 400),
    "health": ("GET /healthz HTTP/1.1", 400),
    "nothing": ("GET /nothing HTTP/1.1", 400),
    "a preflight": ("OPTIONS /v1/batches HTTP/1.1", 400),
    "health in HTTP/1.0": ("GET /healthz HTTP/1.0", 200),
}


@pytest.mark.parametrize(("line", "status"), HOSTLESS.values(), ids=HOSTLESS.keys())
def test_a_request_of_http_1_1_has_a_host(receiver: Receiver, key: str, line: str, status: int) -> None:
    lines = [line, f"Authorization: Bearer {key}", "Content-Type: application/json", "Content-Length: 13"]
    with SlowAgent(receiver.port) as agent:
        agent.sendall("\r\n".join([*lines, "", ""]).encode() + BODY)
        assert answers(agent, 1) == [status]


@pytest.mark.parametrize(
    "coding", ["gzip, chunked", "deflate,chunked", "identity, chunked", "x-other, chunked"]
)
@pytest.mark.parametrize("path", ["/v1/batches", "/v1/traces"])
def test_a_transfer_coding_below_the_chunks_is_not_taken_for_the_body(
    receiver: Receiver, home: Home, slug: str, coding: str, path: str
) -> None:
    sent = head(home.add(slug), f"Transfer-Encoding: {coding}", path=path).replace(b"x-ndjson", b"json")
    came = said(receiver, sent + b"d\r\n" + BODY + b"\r\n0\r\n\r\n")
    assert re.findall(rb"HTTP/1.1 (\d+) ", came) == [b"501"]
    assert home.envelopes(slug) == []


@pytest.mark.parametrize(
    "path", ["/v1//traces", "//v1/traces", "/v1/batches//", "/v1//batches", "/v1/./traces"]
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_no_path_leads_to_where_a_header_says(receiver: Receiver, path: str, method: str) -> None:
    lines = [f"{method} {path} HTTP/1.1", "Host: elsewhere.example", "X-Forwarded-Proto: https", "", ""]
    with SlowAgent(receiver.port) as agent:
        agent.sendall("\r\n".join(lines).encode())
        came = agent.recv(65536)
    assert came.startswith(b"HTTP/1.1 404 ")
    assert b"elsewhere" not in came


# Requests whose heads no application sees, and what is answered.
UNHEARD = {
    "a request line that is none": (b"nonsense\r\n\r\n", 400),
    "a line without a colon": (b"POST /v1/batches HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n", 400),
    "line feeds": (b"POST /v1/batches HTTP/1.1\nHost: x\n\n", 400),
    "two lengths": (head(None, "Content-Length: 1", "Content-Length: 2"), 400),
    "a long request line": (head(None, path="/" + "a" * 9_000), 414),
    "an expectation": (head(None, "Expect: a-miracle"), 417),
    "a long header": (head(None, f"X-Long: {'a' * 9_000}"), 431),
    "a long head": (b"POST / HTTP/1.1\r\n" + b"X: 1\r\n" * 7_000, 431),
    "an unknown coding": (head(None, "Transfer-Encoding: rot13"), 501),
}


@pytest.mark.parametrize(("request_", "status"), UNHEARD.values(), ids=UNHEARD.keys())
def test_a_page_may_read_the_refusal_of_a_head_that_is_none(
    receiver: Receiver, request_: bytes, status: int
) -> None:
    came = said(receiver, request_).lower()
    assert came.startswith(f"http/1.1 {status} ".encode())
    assert b"\r\naccess-control-allow-origin: *\r\n" in came
    assert b"\r\naccess-control-expose-headers: retry-after, " in came
    assert b"\r\ncontent-type: application/problem+json\r\n" in came

"""Bytes that no HTTP client sends: they are answered or hung up on, and others go on."""

import contextlib
import json
import re
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.examples import TIMES
from tests.receiver import DEADLINE_S, Home, Receiver

BODY = b'{"event": 1}\n'


@pytest.fixture(scope="module")
def key(home: Home) -> str:
    return home.add("raw-fuzzed")


def said(receiver: Receiver, *pieces: bytes, patience_s: float = 2.0) -> bytes:
    """All that comes back until the receiver hangs up, or nothing has come for a while."""
    came = b""
    with socket.create_connection(("127.0.0.1", receiver.port), timeout=DEADLINE_S) as agent:
        with contextlib.suppress(OSError):
            for piece in pieces:
                agent.sendall(piece)
            agent.shutdown(socket.SHUT_WR)
        agent.settimeout(patience_s)
        with contextlib.suppress(OSError):
            while data := agent.recv(65536):
                came += data
    return came


def statuses(answers: bytes) -> list[int]:
    return [int(code) for code in re.findall(rb"HTTP/1\.[01] (\d{3}) ", answers)]


def head(key: str, *lines: str, method: str = "POST", path: str = "/v1/batches") -> bytes:
    given = ["Host: x", f"Authorization: Bearer {key}", "Content-Type: application/x-ndjson", *lines]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *given, "", ""]).encode("latin-1")


def well(receiver: Receiver, key: str) -> None:
    """It takes batches, and nothing that came answered with a traceback or 500."""
    assert receiver.post(key, BODY).status_code == 202


def harmless(answers: bytes) -> None:
    assert b"Traceback" not in answers
    assert not [status for status in statuses(answers) if status >= 500 and status not in (501, 503, 505)]


CHUNKED = "Transfer-Encoding: chunked"
WHOLE = b"d\r\n" + BODY + b"\r\n0\r\n\r\n"
# What is sent after the head's lines, and what may come back; [] is a connection that was hung up on.
ODD: dict[str, tuple[list[str], bytes, set[int]]] = {
    "chunks": ([CHUNKED], WHOLE, {202}),
    "a trailer": ([CHUNKED], b"d\r\n" + BODY + b"\r\n0\r\nX-Sum: 1\r\n\r\n", {202, 400}),
    "a chunk extension": ([CHUNKED], b"d;a=b\r\n" + BODY + b"\r\n0\r\n\r\n", {202, 400}),
    "a chunk size that is no number": ([CHUNKED], b"xyz\r\n", {400}),
    "a negative chunk size": ([CHUNKED], b"-1\r\n", {400}),
    "a chunk size with underscores": ([CHUNKED], b"1_0\r\n" + BODY, {400}),
    "a chunk of exabytes": ([CHUNKED], b"ffffffffffffffff\r\n" + BODY, {400}),
    "a chunk size of a thousand digits": ([CHUNKED], b"0" * 1_000 + b"1\r\nx\r\n0\r\n\r\n", {202, 400}),
    "chunks that end early": ([CHUNKED], b"d\r\n" + BODY[:5], {400}),
    "a chunk without its end": ([CHUNKED], b"d\r\n" + BODY + b"0\r\n\r\n", {400}),
    "length and chunks": (["Content-Length: 13", CHUNKED], WHOLE, {400}),
    "chunks twice": ([CHUNKED, CHUNKED], WHOLE, {400}),
    "chunks, but not last": (["Transfer-Encoding: chunked, gzip"], WHOLE, {400, 501}),
    "an unknown transfer coding": (["Transfer-Encoding: rot13"], WHOLE, {400, 501}),
    "two lengths": (["Content-Length: 13", "Content-Length: 14"], BODY, {400}),
    "a negative length": (["Content-Length: -13"], BODY, {400}),
    "a length with a sign": (["Content-Length: +13"], BODY, {400}),
    "a length of 400 digits": ([f"Content-Length: {'9' * 400}"], BODY, {400, 413}),
    "a length beyond the body": (["Content-Length: 1000"], BODY, {400}),
    "no length": ([], b"", {400}),
    "NUL in a header": (["X-Nul: a\0b", "Content-Length: 13"], BODY, {400}),
    "a space before the colon": (["X-Space : b", "Content-Length: 13"], BODY, {400}),
    "a folded header": (["X-Fold: a\r\n b", "Content-Length: 13"], BODY, {400}),
    "a line without a colon": (["no colon", "Content-Length: 13"], BODY, {400}),
    "a header of a megabyte": ([f"X-Large: {'a' * 2**20}", "Content-Length: 13"], BODY, {400, 431}),
    "a megabyte of headers": ([f"X-{n}: {'a' * 90}" for n in range(10_000)], BODY, {400, 431}),
}


@pytest.mark.parametrize(("lines", "body", "expected"), ODD.values(), ids=ODD.keys())
def test_an_odd_request_is_refused_or_taken_and_others_go_on(
    receiver: Receiver, key: str, lines: list[str], body: bytes, expected: set[int]
) -> None:
    answers = said(receiver, head(key, *lines), body)
    harmless(answers)
    assert statuses(answers)[:1] == [] or statuses(answers)[0] in expected
    assert set(statuses(answers)) <= expected | {400}
    well(receiver, key)


def test_pipelined_requests_are_answered_in_order(receiver: Receiver, key: str) -> None:
    batch = head(key, f"Content-Length: {len(BODY)}") + BODY
    alive = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    nowhere = b"GET /nowhere HTTP/1.1\r\nHost: x\r\n\r\n"
    answers = said(receiver, (batch + nowhere + alive) * 5, patience_s=10)
    assert statuses(answers) == [202, 404, 200] * 5


def test_a_body_that_looks_like_a_request_is_a_body(receiver: Receiver, home: Home, key: str) -> None:
    inner = head(key, "Content-Length: 2") + b"{}"
    answers = said(receiver, head(key, f"Content-Length: {len(inner)}", "Idempotency-Key: inner") + inner)
    assert statuses(answers) == [202]
    assert [bytes(one.body) for one in home.envelopes("raw-fuzzed") if one.batch_id == "inner"] == [inner]


REQUEST_LINES = st.sampled_from(
    [b"POST /v1/batches HTTP/1.1", b"GET /healthz HTTP/1.1", b"GET / HTTP/9.9", b""]
)
LINE = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([b"Host: x", b"Content-Length: 5", b"Transfer-Encoding: chunked", b"Connection: close"]),
)


@given(
    first=REQUEST_LINES | st.binary(max_size=80),
    lines=st.lists(LINE, max_size=6),
    body=st.binary(max_size=80),
)
@settings(max_examples=100 * TIMES, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_bytes_are_answered_or_hung_up_on(
    receiver: Receiver, first: bytes, lines: list[bytes], body: bytes
) -> None:
    sent = b"\r\n".join([first, *lines, b"", b""]) + body
    answers = said(receiver, sent)
    harmless(answers)
    for document in problem_documents(answers):
        assert json.loads(document)["type"].startswith("/problems/")


def problem_documents(answers: bytes) -> Iterator[bytes]:
    """As long as their heads say: a detail may quote what was sent, braces and all."""
    for begin in re.finditer(rb"application/problem\+json.*?\r\n\r\n", answers, re.DOTALL):
        length = re.search(rb"Content-Length: (\d+)", answers[: begin.end()].rpartition(b"HTTP/1.1 ")[2])
        assert length is not None
        yield answers[begin.end() : begin.end() + int(length[1])]


def test_the_receiver_is_well_after_all_that(receiver: Receiver, key: str) -> None:
    workers = receiver.workers()
    well(receiver, key)
    assert receiver.workers() == workers
    assert receiver.logged("request_failed") == []

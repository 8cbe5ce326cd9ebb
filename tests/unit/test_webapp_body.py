"""Bounds on bodies: bytes and time. The sockets are real ones."""

import io
import socket
import threading
from typing import Any

import pytest

from webapp.problems import BODY_INCOMPLETE, BODY_TOO_LARGE, BODY_TOO_SLOW, Problem, ProblemType
from webapp.receiving.body import BodyDeadline, read_body


class CountingStream(io.BytesIO):
    """A stream that knows how much of it was read."""

    taken = 0

    def read(self, size: int | None = -1, /) -> bytes:
        part = super().read(size)
        self.taken += len(part)
        return part


def refusal(environ: dict[str, Any], limit: int, deadline: BodyDeadline | None = None) -> ProblemType:
    with pytest.raises(Problem) as refused:
        read_body(environ, limit=limit, deadline=deadline or BodyDeadline(30))
    return refused.value.kind


def test_a_body_with_a_length_is_read_whole() -> None:
    environ = {"wsgi.input": io.BytesIO(b"x" * 10), "CONTENT_LENGTH": "10"}
    assert read_body(environ, limit=10, deadline=BodyDeadline(30)) == b"x" * 10


def test_not_a_byte_is_read_of_a_body_whose_length_is_above_the_limit() -> None:
    stream = CountingStream(b"x" * 11)
    assert refusal({"wsgi.input": stream, "CONTENT_LENGTH": "11"}, 10) is BODY_TOO_LARGE
    assert stream.taken == 0


def test_a_chunked_body_is_read_up_to_the_limit_and_no_further() -> None:
    stream = CountingStream(b"x" * 10_000_000)
    assert refusal({"wsgi.input": stream, "HTTP_TRANSFER_ENCODING": "chunked"}, 1000) is BODY_TOO_LARGE
    assert stream.taken == 1001


def test_a_chunked_body_at_the_limit_is_taken() -> None:
    environ = {"wsgi.input": io.BytesIO(b"x" * 1000), "HTTP_TRANSFER_ENCODING": "chunked"}
    assert len(read_body(environ, limit=1000, deadline=BodyDeadline(30))) == 1000


def test_a_body_that_ends_early_is_incomplete() -> None:
    assert refusal({"wsgi.input": io.BytesIO(b"x" * 9), "CONTENT_LENGTH": "10"}, 10) is BODY_INCOMPLETE


@pytest.mark.parametrize("length", ["-1", "1e3", "+5", "0x10", "9" * 30])
def test_a_length_that_is_no_number_is_refused(length: str) -> None:
    assert refusal({"wsgi.input": io.BytesIO(b"x"), "CONTENT_LENGTH": length}, 10) in (
        BODY_INCOMPLETE,
        BODY_TOO_LARGE,
    )


class OfSocket:
    """Reads like gunicorn: until all is there or the connection ends."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection

    def read(self, size: int, /) -> bytes:
        got = b""
        while len(got) < size and (part := self.connection.recv(size - len(got))):
            got += part
        return got


def test_a_body_that_trickles_is_cut_at_its_deadline() -> None:
    ours, theirs = socket.socketpair()
    done = threading.Event()

    def trickle() -> None:
        while not done.wait(0.05):
            try:
                theirs.send(b"x")
            except OSError:
                return

    agent = threading.Thread(target=trickle)
    agent.start()
    deadline = BodyDeadline(0.4)
    environ = {"wsgi.input": OfSocket(ours), "CONTENT_LENGTH": "100000", "gunicorn.socket": ours}
    try:
        assert refusal(environ, 1_000_000, deadline) is BODY_TOO_SLOW
        # The writing side is still open: the agent gets to read why.
        ours.send(b"408")
        assert theirs.recv(3) == b"408"
    finally:
        done.set()
        deadline.close()
        agent.join()
        ours.close()
        theirs.close()

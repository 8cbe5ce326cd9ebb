"""Agents whose every byte the test sends itself."""

import contextlib
import re
import resource
import socket
from collections.abc import Iterator

from tests.receiver import DEADLINE_S


class SlowAgent(socket.socket):
    """Connected to a receiver on this machine; closes as a context manager."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.settimeout(DEADLINE_S)
        self.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connect(("127.0.0.1", port))


@contextlib.contextmanager
def crowd(port: int, size: int) -> Iterator[list[SlowAgent]]:
    """So many agents; this process may have file descriptors enough for them."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(SlowAgent(port)) for _ in range(size)]


def head(key: str | None, *lines: str, path: str = "/v1/batches") -> bytes:
    """Of a POST of NDJSON."""
    given = ["Host: x", "Content-Type: application/x-ndjson", *lines]
    if key is not None:
        given.append(f"Authorization: Bearer {key}")
    return "\r\n".join([f"POST {path} HTTP/1.1", *given, "", ""]).encode("latin-1")


def continued(agent: socket.socket) -> bool:
    """Whether the body is asked for, of a head that says `Expect: 100-continue`."""
    return agent.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"


def answers(agent: socket.socket, count: int) -> list[int]:
    """The statuses of the next answers, which are taken whole; fewer when the receiver hangs up."""
    came = b""
    with contextlib.suppress(ConnectionError):
        while len(statuses := _whole(came)) < count and (data := agent.recv(65536)):
            came += data
    return statuses


def _whole(came: bytes) -> list[int]:
    """Of the answers that are there to their last byte."""
    found = []
    while (end := came.find(b"\r\n\r\n") + 4) >= 4:
        length = re.search(rb"\r\nContent-Length: (\d+)\r\n", came[:end], re.IGNORECASE)
        end += int(length[1]) if length else 0
        if len(came) < end:
            break
        found.append(int(came[9:12]))
        came = came[end:]
    return found

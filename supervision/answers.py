"""A process answers who asks on its host: over an abstract Unix socket, from the loop that does its work."""

import hashlib
import os
import socket
import struct
import time
from collections.abc import Callable
from contextlib import suppress

MOST_WAIT = 16  # who ask while the loop does something else
_MOST_BYTES = 64 * 1024
_CREDENTIALS = struct.Struct("3i")  # SO_PEERCRED: process, user, group


class Missing(Exception):
    """Nobody is there."""


class Unanswered(Exception):
    """The process is there and does not answer."""


def address(of: str, url: str, name: str) -> str:
    """Where the process `name` of this kind and broker answers: an abstract Unix socket, which needs no file,
    no port and no room on a disk, and goes with its process.
    """
    return f"\0sluice-{of}-" + hashlib.sha256(f"{url}\n{name}".encode()).hexdigest()[:32]


class Answerer:
    """Listens at an `address` and answers those who may ask: the same user, or root.

    Raises OSError when another process listens there.
    """

    def __init__(self, where: str) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self.socket.bind(where)
        except OSError:
            self.socket.close()
            raise
        self.socket.listen(MOST_WAIT)
        self.socket.setblocking(False)
        # A child that outlives its parent must not hold its place.
        os.register_at_fork(after_in_child=self.socket.close)

    def answer(self, document: Callable[[], bytes]) -> bool:
        """Answer one who waits, if any does; False when none did. Never blocks."""
        try:
            asker, _ = self.socket.accept()
        except OSError:
            return False
        with asker, suppress(OSError):  # who asked may be gone
            asker.setblocking(False)
            if _may_ask(asker):
                asker.send(document())
        return True

    def close(self) -> None:
        """Stop listening."""
        self.socket.close()


def ask(where: str, until: float) -> bytes:
    """What the process at `where` answers until then, on the monotonic clock. Raises Missing, Unanswered."""
    answer = b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asker:
        try:
            asker.settimeout(max(0.1, until - time.monotonic()))
            asker.connect(where)
            while len(answer) < _MOST_BYTES and (part := asker.recv(_MOST_BYTES)):
                answer += part
        except ConnectionRefusedError:
            raise Missing from None
        except OSError as error:
            raise Unanswered from error
    if not answer:
        raise Unanswered
    return answer


def _may_ask(asker: socket.socket) -> bool:
    """Queues are named after customers."""
    credentials = asker.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return _CREDENTIALS.unpack(credentials)[1] in (os.geteuid(), 0)

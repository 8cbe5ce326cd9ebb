"""A server in front of the receiver that answers the first posts with 503, and passes on all others.

Of every two that it refuses, it has passed on the second: the receiver's answer to it is lost.
"""

import contextlib
import re
import socket
import threading

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_ANSWER = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n"
    b"Access-Control-Allow-Origin: *\r\nAccess-Control-Expose-Headers: Retry-After\r\n\r\n"
)
_DEADLINE_S = 60.0


class RefusingFront:
    """Listens on a free loopback port, `port`, as a context manager; `refused` counts its 503s, and
    `passed_on` those that the receiver has acknowledged nevertheless.

    A post is counted when its head has come, so that never more are refused, however many connections are
    open. Each refusal ends its connection, and so does an answer to another method, such as a browser's
    question whether it may post. All else is the receiver's, byte for byte.
    """

    def __init__(self, receiver_port: int, refusals: int) -> None:
        self._target = ("127.0.0.1", receiver_port)
        self._refusals = refusals
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._counting = threading.Lock()
        self.refused = 0
        self.passed_on = 0

    def __enter__(self) -> "RefusingFront":
        threading.Thread(target=self._serve, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                client.settimeout(_DEADLINE_S)
                threading.Thread(target=self._meet, args=(client,), daemon=True).start()

    def _meet(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            came = _read_head(client)
            if not came.startswith(b"POST "):
                _end(client, self._passed_on(came).replace(b"keep-alive", b"close"))
            elif number := self._refusal():
                request = _read_rest(client, came)
                if number % 2 == 0:
                    self.passed_on += self._passed_on(request)[9:12] in (b"200", b"202")
                _end(client, _ANSWER)
            else:
                self._relay(client, came)

    def _refusal(self) -> int:
        """Which one this is, 0 when there were enough."""
        with self._counting:
            if self.refused == self._refusals:
                return 0
            self.refused += 1
            return self.refused

    def _passed_on(self, request: bytes) -> bytes:
        with socket.create_connection(self._target, _DEADLINE_S) as server:
            server.sendall(request)
            return server.recv(65536)

    def _relay(self, client: socket.socket, came: bytes) -> None:
        with socket.create_connection(self._target, 10) as server:
            server.settimeout(_DEADLINE_S)
            server.sendall(came)
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()


def _read_head(client: socket.socket) -> bytes:
    """To its end, and what came with it."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(client)
    return data


def _read_rest(client: socket.socket, came: bytes) -> bytes:
    """The request, whole: its sender is not to be cut off while it writes."""
    head, _, body = came.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    if length is not None:
        while len(body) < int(length[1]):
            body += _more(client)
    elif _CHUNKED.search(head):
        while not body.endswith(b"0\r\n\r\n"):
            body += _more(client)
    return head + b"\r\n\r\n" + body


def _end(client: socket.socket, answer: bytes) -> None:
    client.sendall(answer)
    client.shutdown(socket.SHUT_WR)
    client.recv(1)


def _more(client: socket.socket) -> bytes:
    data = client.recv(65536)
    if not data:
        raise ConnectionResetError
    return data


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)

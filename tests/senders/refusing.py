"""A server in front of the receiver that answers the first requests with 503, and passes on all others.

Of every two that it refuses, it has passed on the second: the receiver's answer to it is lost.
"""

import contextlib
import re
import socket
import threading

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_ANSWER = (
    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)
_DEADLINE_S = 60.0


class RefusingFront:
    """Listens on a free loopback port, `port`, as a context manager; `refused` counts its 503s, and
    `passed_on` those that the receiver has acknowledged nevertheless.

    Each refusal ends its connection. All other connections are the receiver's, byte for byte.
    """

    def __init__(self, receiver_port: int, refusals: int) -> None:
        self._target = ("127.0.0.1", receiver_port)
        self._refusals = refusals
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
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
                refuses = self.refused < self._refusals
                work = self._refuse if refuses else self._relay
                threading.Thread(target=work, args=(client,), daemon=True).start()

    def _refuse(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            request = _read_request(client)
            self.refused += 1
            if self.refused % 2 == 0:
                self._pass_on(request)
            client.sendall(_ANSWER)
            client.shutdown(socket.SHUT_WR)
            client.recv(1)

    def _pass_on(self, request: bytes) -> None:
        with socket.create_connection(self._target, _DEADLINE_S) as server:
            server.sendall(request)
            answer = server.recv(65536)
        self.passed_on += answer[9:12] in (b"200", b"202")

    def _relay(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, socket.create_connection(self._target, 10) as server:
            server.settimeout(_DEADLINE_S)
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()


def _read_request(client: socket.socket) -> bytes:
    """One request, whole: its sender is not to be cut off while it writes."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(client)
    head, _, body = data.partition(b"\r\n\r\n")
    length = _LENGTH.search(head)
    if length is not None:
        while len(body) < int(length[1]):
            body += _more(client)
    elif _CHUNKED.search(head):
        while not body.endswith(b"0\r\n\r\n"):
            body += _more(client)
    return head + b"\r\n\r\n" + body


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

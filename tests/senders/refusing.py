"""A server in front of the receiver that answers the first requests with 503, and passes on all others."""

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
    """Listens on a free loopback port, `port`, as a context manager; `refused` counts its 503s.

    Each refusal ends its connection. All other connections are the receiver's, byte for byte.
    """

    def __init__(self, receiver_port: int, refusals: int) -> None:
        self._target = ("127.0.0.1", receiver_port)
        self._refusals = refusals
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.refused = 0

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
                self.refused += refuses
                work = self._refuse if refuses else self._relay
                threading.Thread(target=work, args=(client,), daemon=True).start()

    def _refuse(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            _read_request(client)
            client.sendall(_ANSWER)
            client.shutdown(socket.SHUT_WR)
            client.recv(1)

    def _relay(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError), client, socket.create_connection(self._target, 10) as server:
            server.settimeout(_DEADLINE_S)
            back = threading.Thread(target=_pump, args=(server, client), daemon=True)
            back.start()
            _pump(client, server)
            back.join()


def _read_request(client: socket.socket) -> None:
    """Read one request whole, so that its sender is not cut off while it writes."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _more(client)
    head, _, body = data.partition(b"\r\n\r\n")
    if b"100-continue" in head.lower():
        client.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
    length = _LENGTH.search(head)
    if length is not None:
        missing = int(length[1]) - len(body)
        while missing > 0:
            missing -= len(_more(client))
    elif _CHUNKED.search(head):
        while not body.endswith(b"0\r\n\r\n"):
            body += _more(client)


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

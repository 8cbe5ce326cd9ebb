"""`python -m operators.listener BIND SOCKET MEMORY PARENT ORIGIN TLS`, as `operators.process` starts it.

GET /metrics, /healthz and /readyz. Connections are few, each ends after seconds, and the oldest gives way to
the next: no slow reader keeps others from looking, and none touches the process that is looked at.
"""

import http.client
import json
import os
import signal
import socket
import socketserver
import ssl
import sys
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from typing import Any

import structlog
from prometheus_client import CONTENT_TYPE_LATEST

from operators.lines import Lines
from operators.memory import Memory
from operators.sockets import listen
from operators.values import exposition

CONNECTIONS = 8
"""The oldest of so many is hung up on for the next; four times as many threads, and the next itself is."""
CONNECTION_S = 10.0
ORIGIN_S = 2.0
TURN_S = 0.5
AGAIN_S = 1.0

log = structlog.get_logger(__name__)


class _Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True

    def __init__(
        self, listening: socket.socket, memory: Memory, parent: int, origin: str, *, tls: bool
    ) -> None:
        self.memory, self.origin, self.tls = memory, origin, tls
        self._parent = parent
        self._open: dict[Any, float] = {}
        self._lock = threading.Lock()
        super().__init__(listening.getsockname(), _Handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening

    def service_actions(self) -> None:
        """Between connections: hang up on those that are too old, and end with the parent."""
        if os.getppid() != self._parent:
            os._exit(0)
        with self._lock:
            for connection, begun_s in self._open.items():
                if time.monotonic() - begun_s > CONNECTION_S:
                    _hang_up(connection)

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            crowded = len(self._open) >= 4 * CONNECTIONS
            # They are in the order in which they came.
            for connection in list(self._open)[: max(0, len(self._open) - CONNECTIONS + 1)]:
                _hang_up(connection)
            if not crowded:
                self._open[request] = time.monotonic()
        if crowded:
            self.shutdown_request(request)
        else:
            super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Someone hung up, or was hung up on; anything else is worth a line."""
        error = sys.exception()
        if not isinstance(error, OSError):
            log.warning("operators_request_failed", error=repr(error))


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = CONNECTION_S

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if path == "/metrics":
            self._answer(200, CONTENT_TYPE_LATEST, exposition(self.server.memory))
        elif path in ("/healthz", "/readyz"):
            self._answer(*(self._asked(path) if self.server.origin else self._seen(path)))
        else:
            self._answer(404, "text/plain", b"/metrics, /healthz and /readyz are here\n")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name there
        """Nothing: scrapes come by the second."""

    def _answer(self, status: int, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def _seen(self, path: str) -> tuple[int, str, bytes]:
        """What the signs of life say of a process that has no address of its own."""
        signs = self.server.memory.signs
        good = signs.alive if path == "/healthz" else signs.ready
        word = "alive" if path == "/healthz" else "ready"
        said = {word: good, "beat_age_seconds": signs.age_s}
        return 200 if good else 503, "application/json", json.dumps(said).encode()

    def _asked(self, path: str) -> tuple[int, str, bytes]:
        """What the agents' address says; 503 when it says nothing."""
        connection = _connection(self.server.origin, tls=self.server.tls)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.headers.get("Content-Type", "text/plain"), answer.read(4096)
        except (OSError, http.client.HTTPException) as error:
            return 503, "text/plain", f"the receiver does not answer: {type(error).__name__}\n".encode()
        finally:
            connection.close()


class _UnixConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.host)


def _connection(origin: str, *, tls: bool) -> http.client.HTTPConnection:
    if origin.startswith("/"):
        connection = _UnixConnection("localhost", timeout=ORIGIN_S)
        connection.host = origin
        return connection
    host, _, port = origin.rpartition(":")
    if not tls:
        return http.client.HTTPConnection(host, int(port), timeout=ORIGIN_S)
    # It is this machine's own receiver, asked by an address that no certificate names.
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, int(port), timeout=ORIGIN_S, context=context)


def _hang_up(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def main(arguments: list[str]) -> None:
    """Serve until the parent is gone, on the socket that it listens on.

    SOCKET is empty when the parent could not have BIND. It is tried again here: by a release that this one
    is started beside, it is taken for a while.
    """
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(Lines()),  # type: ignore[arg-type] # it only writes
    )
    # The parent says when it ends: until then, its drain included, there is something to see.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    bind, inherited, memory, parent, origin, tls = arguments
    listening = socket.socket(fileno=int(inherited)) if inherited else _bound(bind, int(parent))
    server = _Server(listening, Memory.of(int(memory)), int(parent), origin, tls=bool(tls))
    server.serve_forever(TURN_S)


def _bound(bind: str, parent: int) -> socket.socket:
    """The address, as soon as it can be had; ends with the parent."""
    told = False
    while os.getppid() == parent:
        try:
            return listen(bind)
        except OSError as error:
            if not told:
                log.error("operators_address_unavailable", bind=bind, error=str(error))
            told = True
        time.sleep(AGAIN_S)
    sys.exit(0)


if __name__ == "__main__":
    main(sys.argv[1:])

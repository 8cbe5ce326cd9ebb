"""gunicorn's gthread worker, in which slow connections cost others neither a thread nor the main loop."""

from __future__ import annotations

import errno
import selectors
import socket
import time
from collections import deque
from functools import partial

from gunicorn import util  # type: ignore[import-untyped] # ships no types
from gunicorn.workers.gthread import (  # type: ignore[import-untyped] # the same
    STOP_KEEPALIVE_LINGER,
    TConn,
    ThreadWorker,
)

HEAD_BYTES = 32 * 1024
"""Longest head of a request, its request line included; a longer one is answered 431."""

_HEAD_END = b"\r\n\r\n"
_PEEK_BYTES = 4096  # most heads are shorter, and the body behind one is not copied in vain
_LINGER_S = 2.0
_LINGER_BYTES = 64 * 1024


class Connection(TConn):  # type: ignore[misc] # TConn has no types
    """`seen` counts bytes: of a head on the socket that is not whole yet, or taken after the last answer."""

    seen = 0
    too_long = False

    def __init__(self, worker: Worker, sock: socket.socket, address: object, server: object) -> None:
        super().__init__(worker.cfg, sock, address, server)
        self._worker = worker

    def close(self, graceful: bool = False) -> None:
        """Close it at once, or after what is still on its way."""
        if graceful:
            self._worker.linger(self)
        else:
            super().close()


class Worker(ThreadWorker):  # type: ignore[misc] # the same
    """Waits for heads, and for connections to end, in the main loop's poller.

    gthread gives a connection to a thread when it is accepted or has sent a byte, and the thread waits for
    the rest of the head without end: as many slow connections as there are threads keep all others waiting.
    Here the main loop looks at what has come without taking it (MSG_PEEK of recv(2)) and is woken again by
    more than that only (SO_RCVLOWAT of socket(7)). A head that has not come whole within `keepalive` seconds
    is hung up on, like any idle connection.

    A connection that is closed after an answer must be read on for a moment, or the answer is lost with the
    reset that unread bytes cause (RFC 9112, 9.6). gthread does that in its main loop, which stands still
    meanwhile: for 2 s when the agent sends nothing and does not hang up.
    """

    def init_process(self) -> None:
        """Runs until the worker stops."""
        self._lingering: deque[Connection] = deque()
        super().init_process()

    def accept(self, listener: socket.socket) -> None:
        """Take one connection."""
        try:
            sock, address = listener.accept()
        except OSError as error:
            if error.errno in (errno.EAGAIN, errno.ECONNABORTED):
                return
            raise
        self.nr_conns += 1
        conn = Connection(self, sock, address, listener.getsockname())
        conn.data_ready = True  # its thread need not wait for a first byte
        self.enqueue_req(conn)

    def enqueue_req(self, conn: Connection) -> None:
        """Give a connection, new or with bytes left of its last read, to a thread when its head is there."""
        if not self._still_coming(conn):
            super().enqueue_req(conn)
            return
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + (self.cfg.keepalive if self.alive else STOP_KEEPALIVE_LINGER)
        self.pending_conns.append(conn)
        wake = partial(self.on_pending_socket_readable, conn)
        self.poller.register(conn.sock, selectors.EVENT_READ, wake)

    def on_client_socket_readable(self, conn: Connection, client: socket.socket) -> None:
        """The next request of a connection that was kept."""
        self._go_on(conn, self.keepalived_conns)

    def on_pending_socket_readable(self, conn: Connection, client: socket.socket) -> None:
        """More of a head."""
        self._go_on(conn, self.pending_conns)

    def handle(self, conn: Connection) -> object:
        """Runs in a thread. False closes the connection."""
        if conn.too_long:
            util.write_error(
                conn.sock, 431, "Request Header Fields Too Large", f"more than {HEAD_BYTES} bytes"
            )
            return False
        return super().handle(conn)

    def linger(self, conn: Connection) -> None:
        """Close a connection whose answer is sent when the agent has, or after 2 s, or 64 KiB."""
        conn.seen = 0
        conn.timeout = time.monotonic() + _LINGER_S
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_lingering_readable, conn))
        except (OSError, ValueError):
            conn.close()
            return
        self.nr_conns += 1
        self._lingering.append(conn)

    def murder_pending(self) -> None:
        """Close what has been waited for long enough."""
        super().murder_pending()
        while self._lingering and self._lingering[0].timeout < time.monotonic():
            self._end(self._lingering[0])

    def _on_lingering_readable(self, conn: Connection, client: socket.socket) -> None:
        try:
            came = len(conn.sock.recv(_LINGER_BYTES))
        except BlockingIOError:
            return
        except OSError:
            came = 0
        conn.seen += came
        if not came or conn.seen >= _LINGER_BYTES:
            self._end(conn)

    def _end(self, conn: Connection) -> None:
        self._lingering.remove(conn)
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

    def _go_on(self, conn: Connection, among: deque[Connection]) -> None:
        if not self._still_coming(conn):
            self.poller.unregister(conn.sock)
            among.remove(conn)
            super().enqueue_req(conn)

    def _still_coming(self, conn: Connection) -> bool:
        """Whether a thread would have to wait for the head. What can't be told here a thread finds out: an
        encrypted head, an error, an end before the head's."""
        if self.cfg.is_ssl:
            return False
        left = conn.parser.unreader.buf.getvalue() if conn.parser else b""
        if _HEAD_END in left:
            return False
        try:
            came = conn.sock.recv(_PEEK_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            if len(came) == _PEEK_BYTES and _HEAD_END not in came:
                came = conn.sock.recv(HEAD_BYTES, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        except BlockingIOError:
            return True
        except OSError:
            return False
        whole = _HEAD_END in left + came
        ended = len(came) <= conn.seen  # woken without anything new
        conn.too_long = not whole and len(left) + len(came) >= HEAD_BYTES
        coming = not (whole or ended or conn.too_long)
        if coming or conn.seen:
            conn.seen = len(came) if coming else 0
            conn.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, conn.seen + 1)
        return coming

    def _cap_keepalive(self, deadline: float) -> None:
        """At a stop, connections that have not sent a whole head wait no longer than kept ones."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

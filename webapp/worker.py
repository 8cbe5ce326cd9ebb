"""gunicorn's gthread worker, in which slow connections cost others neither a thread nor the main loop."""

from __future__ import annotations

import errno
import os
import selectors
import socket
import time
from collections import deque
from collections.abc import Callable
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
_READ_BYTES = 8192
_FULL_S = 1.0
_LINGER_S = 2.0
_LINGER_BYTES = 64 * 1024


class Connection(TConn):  # type: ignore[misc] # TConn has no types
    """`refusal` is the status and reason that a thread is to answer in place of the application."""

    refusal: tuple[int, str] | None = None
    taken_at_end = 0

    def __init__(self, worker: Worker, sock: socket.socket, address: object, server: object) -> None:
        super().__init__(worker.cfg, sock, address, server)
        self._worker = worker

    def still_coming(self) -> bool:
        """Take what has come of a head, and say whether more of it is missing. What is taken waits where the
        parser begins to read. An end before the head's, and an error, are the parser's to find."""
        self.init()
        self.sock.setblocking(False)
        held = self.parser.unreader.buf
        held.seek(0, os.SEEK_END)
        # RFC 9112, 2.2: an empty line may stand before the request line.
        while _HEAD_END not in (head := held.getvalue().removeprefix(b"\r\n")):
            if len(head) >= HEAD_BYTES:
                self.refusal = 431, "Request Header Fields Too Large"
                return False
            try:
                came = self.sock.recv(_READ_BYTES)
            except BlockingIOError:
                if b"\n" in head.replace(b"\r\n", b""):
                    self.refusal = 400, "Bad Request"
                    return False
                return True
            except OSError:
                return False
            if not came:
                return False
            held.write(came)
        return False

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
    Here the main loop takes heads in, and gives a thread the connection whose head is whole. One that has not
    come whole within `keepalive` seconds is hung up on, like any idle connection.

    A connection that is closed after an answer must be read on for a moment, or the answer is lost with the
    reset that unread bytes cause (RFC 9112, 9.6). gthread does that in its main loop, which stands still
    meanwhile: for 2 s when the agent sends nothing and does not hang up.

    Where gunicorn itself ends TLS, a connection is gthread's own from its first byte.
    """

    def init_process(self) -> None:
        """Runs until the worker stops."""
        self._lingering: deque[Connection] = deque()
        self._full_until = 0.0
        super().init_process()

    def set_accept_enabled(self, enabled: bool) -> None:
        """Called in each round of the main loop."""
        super().set_accept_enabled(enabled and time.monotonic() >= self._full_until)

    def accept(self, listener: socket.socket) -> None:
        """Take one connection. When no file descriptor is left for it, try again a second later."""
        try:
            sock, address = listener.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self.log.warning("no file descriptor is left beside %d connections", self.nr_conns)
                self._full_until = time.monotonic() + _FULL_S
                self.set_accept_enabled(False)
                return
            if error.errno in (errno.EAGAIN, errno.ECONNABORTED):
                return
            raise
        self.nr_conns += 1
        conn = Connection(self, sock, address, listener.getsockname())
        conn.data_ready = not self.cfg.is_ssl  # no thread need wait for a first byte
        self.enqueue_req(conn)

    def enqueue_req(self, conn: Connection) -> None:
        """Give a connection, new or with bytes left of its last read, to a thread when its head is there."""
        if self.cfg.is_ssl or not conn.still_coming():
            super().enqueue_req(conn)
        else:
            self._wait_for_more(conn, self.poller.register)

    def on_client_socket_readable(self, conn: Connection, client: socket.socket) -> None:
        """The next request of a connection that was kept begins."""
        if self.cfg.is_ssl or not conn.still_coming():
            super().on_client_socket_readable(conn, client)
        else:
            self.keepalived_conns.remove(conn)
            self._wait_for_more(conn, self.poller.modify)

    def on_pending_socket_readable(self, conn: Connection, client: socket.socket) -> None:
        """More of a head."""
        if self.cfg.is_ssl or not conn.still_coming():
            super().on_pending_socket_readable(conn, client)

    def handle(self, conn: Connection) -> object:
        """Runs in a thread. False closes the connection."""
        if conn.refusal is None:
            return super().handle(conn)
        status, reason = conn.refusal
        util.write_error(conn.sock, status, reason, "the head of the request is malformed or too long")
        return False

    def linger(self, conn: Connection) -> None:
        """Close a connection whose answer is sent when the agent has, or after 2 s, or 64 KiB."""
        conn.timeout = time.monotonic() + _LINGER_S
        try:
            conn.sock.setblocking(False)
            conn.sock.shutdown(socket.SHUT_WR)
            self.poller.register(conn.sock, selectors.EVENT_READ, partial(self._on_lingering_readable, conn))
        except (OSError, ValueError, KeyError):
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
        conn.taken_at_end += came
        if not came or conn.taken_at_end >= _LINGER_BYTES:
            self._end(conn)

    def _end(self, conn: Connection) -> None:
        self._lingering.remove(conn)
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

    def _wait_for_more(self, conn: Connection, watch: Callable[..., object]) -> None:
        watch(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))
        conn.timeout = time.monotonic() + (self.cfg.keepalive if self.alive else STOP_KEEPALIVE_LINGER)
        self.pending_conns.append(conn)

    def _cap_keepalive(self, deadline: float) -> None:
        """At a stop, connections that have not sent a whole head wait no longer than kept ones."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

"""gunicorn's gthread worker, in which slow connections cost others neither a thread nor the main loop."""

import contextlib
import errno
import selectors
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TYPE_CHECKING, cast

from gunicorn.http import wsgi  # type: ignore[import-untyped] # ships no types
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped] # the same
from gunicorn.http.message import Request  # type: ignore[import-untyped] # the same
from gunicorn.workers.gthread import (  # type: ignore[import-untyped] # the same
    STOP_KEEPALIVE_LINGER,
    ThreadWorker,
)

from webapp.problems import Problem
from webapp.receiving.accept import Admitted, HeadResult
from webapp.serving import refused_heads
from webapp.serving.connection import AgentConnection, Next
from webapp.serving.waiting_bodies import WaitingBodies

if TYPE_CHECKING:
    from webapp.serving.parts import Parts

_FULL_S = 1.0
_LINGER_S = 2.0
_LINGER_BYTES = 64 * 1024


class Worker(ThreadWorker):  # type: ignore[misc] # the same
    """Waits for heads, for bodies, and for connections to end, in the main loop's poller.

    gthread gives a connection to a thread when it is accepted or has sent a byte, and the thread waits for
    the rest of the head without end: as many slow connections as there are threads keep all others waiting.
    Here the main loop takes requests in, and gives a thread the connection whose request is whole. A head
    that has not come whole within `keepalive` seconds is hung up on, like any idle connection. When a body
    does not come with its head, a thread looks at the head first, and the main loop takes in the bodies of
    those that are let in; `WaitingBodies` says for how long.

    A connection that is closed after an answer must be read on for a moment, or the answer is lost with the
    reset that unread bytes cause (RFC 9112, 9.6). gthread does that in its main loop, which stands still
    meanwhile: for 2 s when the agent sends nothing and does not hang up. An agent that asks on and reads no
    answer holds a thread for `SEND_S`; gthread's thread waits for it without end.

    Where gunicorn itself ends TLS, a connection is gthread's own from its first byte.
    """

    def init_process(self) -> None:
        """Runs until the worker stops."""
        self._lingering: deque[AgentConnection] = deque()
        self._full_until = 0.0
        super().init_process()

    def load_wsgi(self) -> None:
        """Called before the main loop runs."""
        super().load_wsgi()
        self._parts = cast("Parts", self.wsgi.extensions["sluice"])
        settings = self._parts.settings
        self._body_bytes = settings.body_bytes
        self._bodies = WaitingBodies(
            deadline_s=settings.body_deadline_s, rate=settings.body_rate, most_bytes=settings.bodies_bytes
        )

    def set_accept_enabled(self, enabled: bool) -> None:
        """Called when it may have to change: in each round while descriptors are short."""
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
        conn = AgentConnection(
            self.cfg, sock, address, listener.getsockname(), linger=self.linger, body_bytes=self._body_bytes
        )
        conn.data_ready = not self.cfg.is_ssl  # no thread need wait for a first byte
        self.enqueue_req(conn)

    def enqueue_req(self, conn: AgentConnection) -> None:
        """A connection, new or with bytes left of its last read."""
        if self.cfg.is_ssl:
            super().enqueue_req(conn)
        else:
            self._follow(conn, conn.advance())

    def on_client_socket_readable(self, conn: AgentConnection, client: socket.socket) -> None:
        """The next request of a connection that was kept begins."""
        if self.cfg.is_ssl:
            super().on_client_socket_readable(conn, client)
            return
        self.keepalived_conns.remove(conn)
        step = conn.advance()
        if step is Next.HEAD:
            self._wait_for_more(conn, self.poller.modify)
        else:
            self.poller.unregister(client)
            self._follow(conn, step)

    def on_pending_socket_readable(self, conn: AgentConnection, client: socket.socket) -> None:
        """More of a head."""
        if self.cfg.is_ssl:
            super().on_pending_socket_readable(conn, client)
        elif (step := conn.advance()) is not Next.HEAD:
            self.poller.unregister(client)
            self.pending_conns.remove(conn)
            self._follow(conn, step)

    def handle(self, conn: AgentConnection) -> object:
        """Runs in a thread. False closes the connection."""
        if conn.held_bytes:
            self.method_queue.defer(self._bodies.leave, conn)
        if conn.refusal is None:
            result = super().handle(conn)
            left = conn.hand_back()
            if isinstance(left, Admitted):
                # The application did not come to it.
                self._parts.reception.release(left)
            return result
        with contextlib.suppress(OSError):
            refused_heads.refuse(conn.sock, conn.refusal, self._parts.settings.cors_origin)
        return False

    def handle_error(self, req: object, client: socket.socket, addr: object, exc: Exception) -> None:
        """Runs in a thread. The head was none, or something failed before an answer began."""
        if isinstance(exc, ssl.SSLError):
            super().handle_error(req, client, addr, exc)
            return
        with contextlib.suppress(OSError):
            refused_heads.refuse(client, refused_heads.problem_of(exc), self._parts.settings.cors_origin)

    def handle_request(self, req: Request, conn: AgentConnection) -> object:
        """Runs in a thread, with a request whose body came or is not waited for."""
        if not self.cfg.is_ssl:
            req.body = conn.arrived(req.body)
            # It was sent when the body was wanted and had not come.
            req._expected_100_continue = False
        elif req._expected_100_continue:
            conn.decision = decision = self._look_at(req, conn)
            req.body = conn.arrived(req.body)
            req._expected_100_continue = isinstance(decision, Admitted)
        try:
            return super().handle_request(req, conn)
        except BlockingIOError:
            # The answer could not be sent; this has gthread close the connection without more ado.
            raise StopIteration from None

    def linger(self, conn: AgentConnection) -> None:
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
        for conn in self._bodies.without_body():
            # Another one of them may have needed its room.
            if conn not in self._bodies:
                continue
            self._leave(conn)
            self._follow(conn, conn.undecided())
        for conn in self._bodies.too_slow():
            self._cut(conn, self._parts.reception.too_slow())

    def wait_for_and_dispatch_events(self, timeout: float) -> None:
        """One round of the main loop."""
        super().wait_for_and_dispatch_events(min(timeout, self._bodies.wait_s()))

    def _on_lingering_readable(self, conn: AgentConnection, client: socket.socket) -> None:
        try:
            came = len(conn.sock.recv(_LINGER_BYTES))
        except BlockingIOError:
            return
        except OSError:
            came = 0
        conn.taken_at_end += came
        if not came or conn.taken_at_end >= _LINGER_BYTES:
            self._end(conn)

    def _end(self, conn: AgentConnection) -> None:
        self._lingering.remove(conn)
        self.poller.unregister(conn.sock)
        self.nr_conns -= 1
        conn.close()

    def _follow(self, conn: AgentConnection, step: Next) -> None:
        """Of a connection that the poller does not watch."""
        if conn.held_bytes and step in (Next.DECISION, Next.ANSWER):
            step = self._wait_for_thread(conn, step)
        match step:
            case Next.HEAD:
                self._wait_for_more(conn, self.poller.register)
            case Next.BODY:
                watch = partial(self._on_body_readable, conn)
                self.poller.register(conn.sock, selectors.EVENT_READ, watch)
                self._note(conn)
            case Next.DECISION:
                self.tpool.submit(self._decide, conn).add_done_callback(
                    lambda done: self.method_queue.defer(self._decided, conn, done)
                )
            case Next.ANSWER:
                super().enqueue_req(conn)

    def _on_body_readable(self, conn: AgentConnection, client: socket.socket) -> None:
        # Another one's event of the same round may have ended it.
        if conn not in self._bodies:
            return
        step = conn.advance()
        if step is Next.BODY:
            self._note(conn)
        else:
            self._leave(conn)
            self._follow(conn, step)

    def _decide(self, conn: AgentConnection) -> object:
        """Runs in a thread: look at the head alone, and answer it unless the body is wanted."""
        try:
            decision = self._look_at(conn.head(), conn)
        except (ParseException, StopIteration):
            decision = None
        if isinstance(decision, Admitted):
            return decision
        conn.end(decision)
        return self.handle(conn)

    def _decided(self, conn: AgentConnection, done: Future[object]) -> None:
        self._bodies.leave(conn)
        if done.cancelled() or done.exception() or not isinstance(decision := done.result(), Admitted):
            self.finish_request(conn, done)
        else:
            self._follow(conn, conn.admitted(decision))

    def _look_at(self, request: Request, conn: AgentConnection) -> HeadResult | None:
        request._expected_100_continue = False
        _, environ = wsgi.create(request, conn.sock, conn.client, conn.server, self.cfg)
        return self._parts.head_check.decide(environ)

    def _note(self, conn: AgentConnection) -> None:
        while (slowest := self._bodies.note(conn)) is not None:
            self._cut(slowest, self._parts.reception.no_room())
            if slowest is conn:
                return

    def _wait_for_thread(self, conn: AgentConnection, step: Next) -> Next:
        """Count what it holds until a thread has it. When there is no room, it is refused without it."""
        while (slowest := self._bodies.wait(conn)) is not None:
            if slowest is conn:
                self._bodies.leave(conn)
                return conn.end(cut=self._parts.reception.no_room())
            self._cut(slowest, self._parts.reception.no_room())
        return step

    def _cut(self, conn: AgentConnection, problem: Problem) -> None:
        """Answer without waiting for the rest of the body."""
        self._leave(conn)
        self._follow(conn, conn.end(cut=problem))

    def _leave(self, conn: AgentConnection) -> None:
        self._bodies.leave(conn)
        self.poller.unregister(conn.sock)

    def _wait_for_more(self, conn: AgentConnection, watch: Callable[..., object]) -> None:
        watch(conn.sock, selectors.EVENT_READ, partial(self.on_pending_socket_readable, conn))
        conn.timeout = time.monotonic() + (self.cfg.keepalive if self.alive else STOP_KEEPALIVE_LINGER)
        self.pending_conns.append(conn)

    def _cap_keepalive(self, deadline: float) -> None:
        """At a stop, connections that have not sent a whole head wait no longer than kept ones."""
        super()._cap_keepalive(deadline)
        for conn in self.pending_conns:
            conn.timeout = min(conn.timeout, deadline)

"""What all connections of one loop share: settings, a buffer, and for how long each is waited for."""

import asyncio
import contextlib
import time
from concurrent.futures import Future
from typing import Any, Generic, Protocol, TypeVar

from webapp.problems import UNAVAILABLE, Problem
from webapp.receiving import cors
from webapp.receiving.body import Environ
from webapp.receiving.publish_queue import QUEUE_PART, STREAM_PART
from webapp.serving.application import LoopApplication
from webapp.serving.body_pauses import BodyPauses, Pausable
from webapp.serving.waiting_bodies import Holder, WaitingBodies
from webapp.settings import HttpSettings

SEND_S = 1.0
"""An answer is given up when the agent has not read enough for so many seconds to make room for more of them.
Answers are small: room is lacking only where an agent asks on and does not read.
"""
LINGER_S = 2.0
"""So long is a connection read on that is closed after its answer."""
LINGER_BYTES = 64 * 1024
"""So much is read of it, beyond the rest of a body that was admitted."""
EARLY_BYTES = 64 * 1024
"""A body of fewer bytes may end behind a refusal of its head, so that the connection is kept."""
STOP_S = 2.0
"""So long does a server that stops wait for requests that were on their way."""
_BUFFER_BYTES = 64 * 1024
CHUNKS_BYTES = 16 * 1024
"""The scan of the smallest chunks, in so many bytes, holds the loop for some milliseconds."""


class Connected(Holder, Pausable, Protocol):
    """A connection, as it is seen from here."""

    transport: asyncio.Transport

    def answer(self, cut: Problem | None) -> None: ...
    def key_is_known(self, wait: int) -> None: ...


C = TypeVar("C", bound=Connected)


class Shared(Generic[C]):
    """Belongs to the loop. `count`: of all connections, with those that are made still. `answered`: so many
    requests were.
    """

    def __init__(
        self,
        application: LoopApplication,
        settings: HttpSettings,
        loop: asyncio.AbstractEventLoop,
        *,
        scheme: str,
    ) -> None:
        self.application = application
        self.loop = loop
        self.stopping = False
        self.count = self.answered = 0
        self.body_bytes = settings.body_bytes
        self.readable = cors.readable(settings.cors_origin)
        self._variables: Environ = {
            "SCRIPT_NAME": "",
            "SERVER_NAME": "",
            "SERVER_PORT": "",
            "wsgi.version": (1, 0),
            "wsgi.url_scheme": scheme,
            "wsgi.multithread": False,
            "wsgi.multiprocess": True,
            "wsgi.run_once": False,
        }
        self.bodies = WaitingBodies[C](
            deadline_s=settings.body_deadline_s, rate=settings.body_rate, most_bytes=settings.bodies_bytes
        )
        self.pauses = BodyPauses[C](
            stream_bytes=settings.bodies_bytes // STREAM_PART,
            most_bytes=settings.bodies_bytes // QUEUE_PART,
            most_s=settings.publish_deadline_s,
        )
        application.reception.queue.watch = self.pauses.queued
        self._settings = settings
        # In the order in which they began to wait, with the `time.monotonic` of that.
        self._heads: dict[C, float] = {}
        self._ends: dict[C, float] = {}
        self._choked: dict[C, float] = {}
        # All connections read into it in turn, and what came is copied at once.
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))

    def variables(self, transport: asyncio.Transport) -> Environ:
        """What is known of the connection's requests before they come. Whoever uses a socket's path has no
        address.
        """
        peer = transport.get_extra_info("peername")
        return {**self._variables, "REMOTE_ADDR": peer[0] if isinstance(peer, tuple) else ""}

    def sweep(self) -> None:
        """End what has been waited for long enough; to be called a few times a second."""
        now = time.monotonic()
        patience = min(self._settings.keepalive_s, STOP_S) if self.stopping else self._settings.keepalive_s
        for waiting, patience_s in ((self._heads, patience), (self._ends, LINGER_S), (self._choked, SEND_S)):
            while waiting and (first := next(iter(waiting.items())))[1] + patience_s < now:
                del waiting[first[0]]
                first[0].transport.abort()
        for connection in self.bodies.given_up():
            connection.answer(None)
        for connection in self.pauses.sweep():
            connection.answer(self.application.reception.overloaded())
        for connection in self.bodies.too_slow():
            connection.answer(self.application.reception.too_slow())

    def buffer(self, *, chunks: bool) -> memoryview:
        """Where a connection reads into."""
        return self._buffer[:CHUNKS_BYTES] if chunks else self._buffer

    def came(self, count: int) -> bytes:
        return bytes(self._buffer[:count])

    def wait_for_head(self, connection: C) -> None:
        """From now on, for the time that a connection is kept."""
        self._heads.pop(connection, None)
        self._heads[connection] = time.monotonic()

    def has_head(self, connection: C) -> None:
        self._heads.pop(connection, None)

    def wait_for_end(self, connection: C) -> None:
        """No request is waited for any more."""
        self._heads.pop(connection, None)
        self._ends.setdefault(connection, time.monotonic())

    def tell_end(self, connection: C) -> None:
        """The agent, after its last answer. One that has hung up already is told of when it is read next."""
        with contextlib.suppress(OSError):
            if connection.transport.can_write_eof():
                connection.transport.write_eof()

    def wait_for_key(self, connection: C, wait: int, lookup: "Future[Any]") -> None:
        """For `key_wait_s` at most. `wait`: what the connection calls this one."""
        self.pauses.hold(connection, connection.held_bytes)
        timer = self.loop.call_later(self._settings.key_wait_s, connection.key_is_known, wait)

        def known() -> None:
            timer.cancel()
            connection.key_is_known(wait)

        def done(_lookup: Any) -> None:
            # A look-up may end after the loop.
            with contextlib.suppress(RuntimeError):
                self.loop.call_soon_threadsafe(known)

        lookup.add_done_callback(done)

    def wait_for_body(self, connection: C, stream: str, length: int | None) -> None:
        """It is admitted, for this stream; `length` is None for chunks."""
        self.pauses.join(connection, stream, length)
        if connection.paused:
            self.note(connection)

    def give_up(self, connection: C) -> None:
        """Its body is nobody's any more."""
        self.bodies.leave(connection)
        self.pauses.leave(connection)

    def note(self, connection: C) -> None:
        """More of its body has come; the slowest gives way when all hold too much."""
        while (slowest := self.bodies.note(connection)) is not None:
            slowest.answer(self.application.reception.no_room())
            if slowest is connection:
                return

    def has_room(self, connection: C) -> bool:
        """Count what it holds until it is answered; false when there is no room for it."""
        while (slowest := self.bodies.wait(connection)) is not None:
            if slowest is connection:
                return False
            slowest.answer(self.application.reception.no_room())
        return True

    def cut_bodies(self) -> None:
        """Wait for no body any longer."""
        for connection in self.bodies.coming():
            connection.answer(self.application.reception.later(UNAVAILABLE, "the receiver stops"))

    def choked(self, connection: C) -> None:
        """It reads no answers."""
        self._choked[connection] = time.monotonic()

    def unchoked(self, connection: C) -> None:
        self._choked.pop(connection, None)

    def failed(self, connection: C, error: Exception) -> None:
        """Tell the log, as asyncio does of its callbacks."""
        self.loop.call_exception_handler(
            {
                "message": "An agent's connection failed",
                "exception": error,
                "transport": connection.transport,
            }
        )

    def left(self, connection: C, *, answered: bool) -> None:
        """It is closed. `answered`: what it published is waited for still, and holds its bytes."""
        for waiting in (self._heads, self._ends, self._choked):
            waiting.pop(connection, None)
        if not answered:
            self.give_up(connection)
        self.count -= 1

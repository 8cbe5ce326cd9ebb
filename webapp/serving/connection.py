"""One connection, whose requests the main loop takes in without waiting for a byte."""

import contextlib
import os
import socket
import struct
import time
from collections.abc import Callable
from enum import Enum, auto
from typing import TYPE_CHECKING

from gunicorn.http.body import Body  # type: ignore[import-untyped] # ships no types
from gunicorn.http.message import Request  # type: ignore[import-untyped] # the same
from gunicorn.http.unreader import IterUnreader, SocketUnreader  # type: ignore[import-untyped] # the same
from gunicorn.workers.gthread import TConn  # type: ignore[import-untyped] # the same

from webapp import problems
from webapp.problems import Problem
from webapp.serving.framing import ChunkedBody, SizedBody, framing

if TYPE_CHECKING:
    from webapp.receiving.accept import HeadResult

HEAD_BYTES = 32 * 1024
"""Longest head of a request, its request line included; a longer one is answered 431."""
EARLY_BYTES = 64 * 1024
"""A body of fewer bytes is taken in with its head; of a larger one the head is looked at first."""

SEND_S = 1
"""An answer of which no byte can be sent for so many seconds is given up. Answers are small: room for one is
lacking only where an agent asks on and does not read."""

_SEND = struct.pack("@ll", SEND_S, 0)  # a timeval
_HEAD_END = b"\r\n\r\n"
_READ_BYTES = 8192
_BODY_READ_BYTES = 256 * 1024


class Next(Enum):
    """What a connection waits for."""

    HEAD = auto()
    BODY = auto()
    DECISION = auto()
    """A thread is to look at the head."""
    ANSWER = auto()
    """A thread is to answer the request."""


class Arrived(Body):  # type: ignore[misc] # Body has no types
    """A request's body as the application reads it: all that will come is there.

    `decision` is what the head was found to be when the body was late, None when nobody asked, and gone when
    it was taken. `cut` is why the rest of the body is not waited for.
    """

    def __init__(self, reader: object, decision: "HeadResult | None", cut: Problem | None) -> None:
        super().__init__(reader)
        self.decision = decision
        self._cut = cut

    def take_decision(self) -> "HeadResult | None":
        """Whoever takes it accepts what was admitted."""
        decision, self.decision = self.decision, None
        return decision

    def read(self, size: int | None = None) -> bytes:
        """Raises Problem where the body was cut."""
        if self._cut is not None:
            self.failed = True
            raise self._cut
        data: bytes = super().read(size)
        return data


class _Taken(SocketUnreader):  # type: ignore[misc] # the same
    """Gives the parser what was taken in; what was not is the end, and so no thread waits for it."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self.rest: bytes | bytearray = b""
        self._at = 0

    def chunk(self, size_hint: int | None = None) -> bytes:
        end = self._at + max(size_hint or 0, self.mxchunk)
        with memoryview(self.rest) as held:
            piece = bytes(held[self._at : end])
        self._at += len(piece)
        return piece

    def begin(self, rest: bytes | bytearray) -> None:
        self.rest, self._at = rest, 0


class AgentConnection(TConn):  # type: ignore[misc] # TConn has no types
    """`linger` is called to close the connection after an answer; `body_bytes` is the largest body.

    `refusal` is what a thread is to answer in place of the application. Used by the
    main loop and by the thread that has its request, never by both at once.
    """

    refusal: Problem | None = None
    taken_at_end = 0

    def __init__(
        self,
        cfg: object,
        sock: socket.socket,
        address: object,
        server: object,
        *,
        linger: "Callable[[AgentConnection], None]",
        body_bytes: int,
    ) -> None:
        super().__init__(cfg, sock, address, server)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, _SEND)
        self._linger = linger
        self._body_bytes = body_bytes
        self._next = Next.HEAD
        self._forget()

    def _forget(self) -> None:
        self.decision: HeadResult | None = None
        self.begun_at = 0.0
        self._cut: Problem | None = None
        self._expects = False
        self._head = b""
        self._body: SizedBody | ChunkedBody | None = None
        self._arrived: Arrived | None = None

    @property
    def held_bytes(self) -> int:
        """Bytes of a body that is still coming, or waits for a thread."""
        return 0 if self._body is None else len(self._body.taken)

    def advance(self) -> Next:
        """Take in what has come, and say what is to happen next."""
        if self._next is Next.ANSWER:
            self._next = Next.HEAD
            self._forget()
        if self._next is Next.HEAD:
            self._next = self._take_head()
        if self._next is Next.BODY:
            self._next = self._take_body()
        return self.end() if self._next is Next.ANSWER else self._next

    def admitted(self, decision: "HeadResult") -> Next:
        """The head was looked at, and the body is wanted."""
        self.decision = decision
        if self._expects:
            # It is lost only when the agent takes nothing off the connection.
            with contextlib.suppress(OSError):
                self.sock.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._next = Next.BODY
        return self._next

    def undecided(self) -> Next:
        """The body did not come with its head."""
        self._next = Next.DECISION
        return self._next

    def end(self, decision: "HeadResult | None" = None, *, cut: Problem | None = None) -> Next:
        """Wait for no more of the body: the request is as whole as it will be."""
        self.decision = decision or self.decision
        self._cut = cut
        self._next = Next.ANSWER
        if self._body is not None:
            if cut is not None:
                # It waits for a thread as long as any, and nobody will read what came.
                self._body.taken = bytearray()
            self._unreader.begin(b"" if cut is not None else self._body.framed())
        return self._next

    def head(self) -> Request:
        """The request as its head alone says it. Raises gunicorn's ParseException, and StopIteration."""
        return Request(self.cfg, IterUnreader([self._head]), self.client)

    def arrived(self, body: Body) -> Body:
        """The request's body for the application."""
        if self._body is None and self.decision is None:
            return body
        decision, self.decision = self.decision, None
        self._arrived = Arrived(body.reader, decision, self._cut)
        return self._arrived

    def hand_back(self) -> "HeadResult | None":
        """Forget the body, and put what was read behind it where the next request is looked for. Returns a
        decision that nobody has taken.
        """
        left = self.decision or (self._arrived and self._arrived.take_decision())
        self.decision = self._arrived = None
        if self._body is not None:
            self._unreader.begin(b"")
            if self._body.behind:
                self._unreader.unread(self._body.behind)
            self._body = None
        return left

    def close(self, graceful: bool = False) -> None:
        """Close it at once, or after what is still on its way."""
        if graceful:
            self._linger(self)
        else:
            super().close()

    def _take_head(self) -> Next:
        """What is taken waits where the parser begins to read. An end before the head's, and an error, are
        the parser's to find.
        """
        if not self.initialized:
            self.init()
            self._unreader = self.parser.unreader = _Taken(self.sock)
        self.sock.setblocking(False)
        held = self._unreader.buf
        held.seek(0, os.SEEK_END)
        while True:
            came = held.getvalue()
            # RFC 9112, 2.2: an empty line may stand before the request line.
            begin = 2 if came.startswith(b"\r\n") else 0
            if (end := came.find(_HEAD_END, begin)) >= 0:
                return self._head_is_whole(came, begin, end + len(_HEAD_END))
            if len(came) - begin >= HEAD_BYTES:
                self.refusal = Problem(problems.HEAD_TOO_LARGE, f"the limit is {HEAD_BYTES} bytes")
                return Next.ANSWER
            try:
                more = self.sock.recv(_READ_BYTES)
            except BlockingIOError:
                if b"\n" in came[begin:].replace(b"\r\n", b""):
                    self.refusal = Problem(problems.BAD_REQUEST, "a line ends without CR")
                    return Next.ANSWER
                return Next.HEAD
            except OSError:
                return Next.ANSWER
            if not more:
                return Next.ANSWER
            held.write(more)

    def _head_is_whole(self, came: bytes, begin: int, end: int) -> Next:
        found = framing(came[begin:end])
        if found is None or (found.length is not None and len(came) - end >= found.length):
            return Next.ANSWER
        self._head = came[:end]
        self._unreader.take_buffered()
        self._unreader.unread(self._head)
        self._body = ChunkedBody(self._body_bytes) if found.length is None else SizedBody(found.length)
        self._body.feed(came[end:])
        self._expects = found.expects
        self.begun_at = time.monotonic()
        if self._body.whole:
            return Next.BODY
        # An agent that waits for `100 Continue` sends nothing until then.
        large = found.length is not None and found.length >= EARLY_BYTES
        return Next.DECISION if large or found.expects else Next.BODY

    def _take_body(self) -> Next:
        """One piece, so that large bodies take turns."""
        assert self._body is not None
        if not self._body.whole:
            try:
                came = self.sock.recv(min(self._body.missing, _BODY_READ_BYTES))
            except BlockingIOError:
                return Next.BODY
            except OSError:
                came = b""
            if not came:
                return Next.ANSWER
            self._body.feed(came)
        if self._body.whole:
            return Next.ANSWER
        return Next.DECISION if self.decision is None and self.held_bytes >= EARLY_BYTES else Next.BODY

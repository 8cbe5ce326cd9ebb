"""One agent's connection: takes requests in as they come, one at a time, and sends their answers."""

import asyncio
import time
from typing import cast

from flask import Response

from webapp import problems
from webapp.problems import Problem
from webapp.receiving.body import incomplete
from webapp.receiving.heads import Admitted, HeadResult, Taken
from webapp.serving import answers
from webapp.serving.framing import ChunkedBody, SizedBody
from webapp.serving.request_head import HEAD_BYTES, RequestHead, read_head
from webapp.serving.shared import Shared
from webapp.serving.states import State

EARLY_BYTES = 64 * 1024
"""A body of fewer bytes may end behind a refusal of its head, so that the connection is kept."""
LINGER_BYTES = 64 * 1024
"""So much is read of a connection that is closed after its answer."""
_END = b"\r\n\r\n"


class AgentConnection(asyncio.BufferedProtocol):
    """Belongs to the loop. While an answer is due nothing more is read: what came with the request waits."""

    def __init__(self, shared: "Shared[AgentConnection]") -> None:
        self._shared = shared
        self.state = State.HEAD
        self.transport: asyncio.Transport
        self._came = b""
        # Of the agent's end; of our answers, which it does not read; of a request that has come already.
        self._ended = self._choked = self._again = self._paused = False
        self._taken_at_end = 0
        self._forget()

    def _forget(self) -> None:
        self.begun_at = 0.0
        self.wanted = self._kept = False
        self._head: RequestHead | None = None
        self._body: SizedBody | ChunkedBody | None = None
        # A body that came with its head.
        self._whole: bytes | None = None
        self._decision: HeadResult | None = None

    @property
    def held_bytes(self) -> int:
        """Of a body that is coming or is answered, and of what came behind it."""
        taken = self._body.taken if self._body is not None else self._whole or b""
        return len(taken) + len(self._came)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._shared.wait_for_head(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._shared.buffer(chunks=isinstance(self._body, ChunkedBody))

    def buffer_updated(self, nbytes: int) -> None:
        came = self._shared.came(nbytes)
        match self.state:
            case State.HEAD:
                if not self._came:
                    self._shared.wait_for_head(self)
                self._came += came
                if self._choked or self._again:
                    self._pause()
                else:
                    self._take_head()
            case State.KEY | State.BODY:
                self._take_body(came)
            case State.ANSWER:
                self._came += came
                self._pause()
                if not self._has_room():
                    self.transport.abort()
            case State.LAST:
                self._taken_at_end += nbytes
                if self._taken_at_end >= LINGER_BYTES:
                    self.transport.abort()

    def eof_received(self) -> bool:
        """Whether there is an answer to be sent still. TLS knows no end of one direction."""
        self._ended = True
        if self.state is State.BODY:
            self._answer(incomplete())
        waits = self.state in (State.KEY, State.ANSWER) or (self.state is State.HEAD and self._again)
        return waits and self.transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        self.state = State.CLOSED
        self._shared.left(self)
        if isinstance(self._decision, Admitted):
            self._shared.application.reception.release(self._decision)
            self._decision = None

    def pause_writing(self) -> None:
        self._choked = True
        self._shared.choked(self)

    def resume_writing(self) -> None:
        self._choked = False
        self._shared.unchoked(self)
        if self.state is State.HEAD and self._came and not self._again:
            self._go_on()

    def cut(self, problem: Problem | None) -> None:
        """Answer without waiting for the rest of the body; None: nobody wants it."""
        self._answer(problem)

    def key_is_known(self) -> None:
        """The look-up of the key has ended, or is not waited for any longer."""
        if self.state is not State.KEY:
            return
        assert self._head is not None
        if self._is_whole():
            self._answer()
            return
        self._decision = self._shared.application.decide(self._head.environ)
        self.wanted = isinstance(self._decision, Admitted)
        if not self.wanted:
            self._do_not_want()
            return
        if self._head.expects and not self.held_bytes:
            self.transport.write(answers.CONTINUE)
        self._wait_for_body()

    def _take_head(self) -> None:
        came = self._came
        # RFC 9112, 2.2: an empty line may stand before the request line.
        begin = 2 if came.startswith(b"\r\n") else 0
        end = came.find(_END, begin)
        if end < 0 or end - begin > HEAD_BYTES:
            if end >= 0 or len(came) - begin >= HEAD_BYTES:
                self._refuse(Problem(problems.HEAD_TOO_LARGE, f"the limit is {HEAD_BYTES} bytes"))
            elif b"\n" in came[begin:].replace(b"\r\n", b""):
                self._refuse(Problem(problems.BAD_REQUEST, "a line ends without CR"))
            return
        try:
            head = read_head(came[begin : end + len(_END)], self._shared.variables)
        except Problem as problem:
            self._refuse(problem)
            return
        self._shared.has_head(self)
        self._head = head
        self.begun_at = time.monotonic()
        rest = came[end + len(_END) :]
        if head.length is not None and len(rest) >= head.length:
            self._whole, self._came = rest[: head.length], rest[head.length :]
        else:
            most = self._shared.body_bytes
            self._body = ChunkedBody(most) if head.length is None else SizedBody(head.length)
            self._body.feed(rest)
            self._came = self._body.behind
        if self._shared.application.takes_body(head.environ):
            self._wait_for_key()
        else:
            self._do_not_want()

    def _is_whole(self) -> bool:
        return self._body is None or self._body.whole

    def _wait_for_key(self) -> None:
        assert self._head is not None
        admitted = self._decision if isinstance(self._decision, Admitted) else None
        self.state = State.KEY
        lookup = self._shared.application.awaited(self._head.environ, admitted)
        if lookup is None:
            self.key_is_known()
        else:
            self._pause()
            self._shared.wait_for_key(self, lookup)

    def _do_not_want(self) -> None:
        """The body; when it comes soon, the connection is kept."""
        assert self._head is not None
        length = self._head.length
        large = max(self.held_bytes, length or 0) >= EARLY_BYTES
        if self._is_whole() or large or self._head.expects:
            self._answer()
        else:
            self._wait_for_body()

    def _wait_for_body(self) -> None:
        self.state = State.BODY
        if self._ended:
            self._answer(incomplete())
            return
        self._resume()
        self._shared.note(self)

    def _take_body(self, came: bytes) -> None:
        assert self._body is not None
        self._body.feed(came)
        if self.state is State.KEY:
            return
        if self._body.whole:
            self._came = self._body.behind
            if self.wanted and self._has_room():
                self._wait_for_key()
            else:
                self._answer()
        elif not self.wanted and self.held_bytes >= EARLY_BYTES:
            self._answer()
        else:
            self._shared.note(self)

    def _has_room(self) -> bool:
        """Count what it holds until it is answered; false when there is no room for it."""
        while (slowest := self._shared.bodies.wait(self)) is not None:
            if slowest is self:
                return False
            slowest.cut(self._shared.application.reception.no_room())
        return True

    def _answer(self, cut: Problem | None = None) -> None:
        assert self._head is not None
        self.state = State.ANSWER
        body = self._body
        cut = cut or (None if body is None else body.cut)
        if cut is None and self._is_whole():
            if not self._has_room():
                cut = self._shared.application.reception.no_room()
        else:
            self._shared.bodies.leave(self)
        self._kept = self._head.kept and cut is None and self._is_whole()
        decision, self._decision = self._decision, None
        if cut is not None and body is not None:
            body.taken = bytearray()
        content = body.taken if body is not None else self._whole or b""
        taken = Taken(content, decision, cut)
        self._shared.application.answer(self._head.environ, taken, self._respond)

    def _refuse(self, problem: Problem) -> None:
        self._shared.has_head(self)
        self.state = State.ANSWER
        self._respond(answers.refusal(problem, self._shared.cors_origin))

    def _respond(self, response: Response) -> None:
        response.close()
        if self.state is not State.ANSWER:
            return
        kept = self._kept and not self._shared.stopping
        bodiless = self._head is not None and self._head.environ["REQUEST_METHOD"] == "HEAD"
        self.transport.write(answers.encode(response, kept=kept, bodiless=bodiless))
        self._shared.bodies.leave(self)
        self._forget()
        if kept:
            self._next()
        else:
            self._close_after_answer()

    def _next(self) -> None:
        self.state = State.HEAD
        self._shared.wait_for_head(self)
        if self._came:
            # The others come first.
            self._again = True
            self._shared.loop.call_soon(self._go_on)
        else:
            self._wait_for_more()

    def _go_on(self) -> None:
        self._again = False
        if self.state is not State.HEAD or self._choked:
            return
        self._take_head()
        if self.state is State.HEAD and not self._again:
            self._wait_for_more()

    def _wait_for_more(self) -> None:
        if self._ended:
            self.transport.close()
        else:
            self._resume()

    def _close_after_answer(self) -> None:
        self._came = b""
        self.state = State.LAST
        self._wait_for_more()
        if not self._ended:
            self._shared.wait_for_end(self)
            if self.transport.can_write_eof():
                self.transport.write_eof()

    def _pause(self) -> None:
        if not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self.transport.resume_reading()

"""One agent's connection: takes requests in as they come, one at a time, and sends their answers."""

import asyncio
import time
from functools import partial
from typing import cast

from flask import Response

from webapp.problems import Problem
from webapp.receiving.body import incomplete
from webapp.receiving.heads import Admitted, HeadResult, Taken
from webapp.serving import answers
from webapp.serving.framing import NO_BODY, Body, ChunkedBody, SizedBody, begin_body
from webapp.serving.guarded import guarded
from webapp.serving.request_head import RequestHead, read_head, split_head
from webapp.serving.shared import CHUNKS_BYTES, EARLY_BYTES, LINGER_BYTES, Shared
from webapp.serving.states import State


class AgentConnection(asyncio.BufferedProtocol):
    """Belongs to the loop. While an answer is due nothing more is read: what came with the request waits."""

    def __init__(self, shared: "Shared[AgentConnection]") -> None:
        self._shared = shared
        self.state = State.NEW
        self.transport: asyncio.Transport
        self._came = b""
        # Of the agent's end; of our answers, which it does not read; of a request that has come already.
        self._ended = self._choked = self._again = False
        self._lingers = LINGER_BYTES
        # Counts what is waited for: what comes for an earlier wait comes too late.
        self._wait = 0
        self._forget()

    def _forget(self) -> None:
        self.begun_at = 0.0
        self.wanted = self.paused = self._kept = False
        self._head: RequestHead | None = None
        self._body: Body = NO_BODY
        # Of a batch that was published, whose confirm is waited for.
        self._published_bytes = 0
        self._decision: HeadResult | None = None

    @property
    def held_bytes(self) -> int:
        return self._body.held_bytes + self._published_bytes + len(self._came)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.state = State.HEAD
        self._shared.wait_for_head(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._shared.buffer(chunks=isinstance(self._body, ChunkedBody))

    @guarded
    def buffer_updated(self, nbytes: int) -> None:
        came = self._shared.came(nbytes)
        match self.state:
            case State.HEAD:
                if not self._came:
                    self._shared.wait_for_head(self)
                self._came += came
                if self._choked or self._again:
                    self.transport.pause_reading()
                else:
                    self._take_head()
            case State.BODY:
                self._take_body(came)
            case State.KEY | State.ANSWER:
                self._came += came
                self.transport.pause_reading()
                if not self._shared.has_room(self):
                    self.transport.abort()
            case State.LAST:
                self._lingers -= nbytes
                if self._lingers <= 0:
                    self.transport.abort()

    def eof_received(self) -> bool:
        """Whether there is an answer to be sent still. TLS knows no end of one direction."""
        self._ended = True
        if self.state is State.BODY:
            self.answer(incomplete())
        again = self._again or (self._choked and bool(self._came))
        waits = self.state in (State.KEY, State.ANSWER) or (self.state is State.HEAD and again)
        if not waits:
            self._shared.wait_for_end(self)
        return waits and self.transport.can_write_eof()

    def connection_lost(self, exc: Exception | None) -> None:
        answered, self.state, self._came = self.state is State.ANSWER, State.CLOSED, b""
        self._shared.left(self, answered=answered)
        decision, self._decision = self._decision, None
        if isinstance(decision, Admitted):
            self._shared.application.reception.release(decision)

    def fail(self, error: Exception) -> None:
        """End with a line in the log."""
        self._shared.failed(self, error)
        self._shared.give_up(self)
        self.state = State.CLOSED
        self.transport.abort()

    def pause_writing(self) -> None:
        self._choked = True
        self._shared.choked(self)

    @guarded
    def resume_writing(self) -> None:
        self._choked = False
        self._shared.unchoked(self)
        if self.state is State.HEAD and self._came and not self._again:
            self._go_on()

    @guarded
    def key_is_known(self, wait: int) -> None:
        """The look-up of the key has ended, or is not waited for any longer."""
        if self.state is not State.KEY or wait != self._wait:
            return
        assert self._head is not None
        if self._body.whole:
            self.answer()
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
        try:
            if (found := split_head(self._came)) is None:
                return
            self._head = head = read_head(found[0], self._shared.variables(self.transport))
        except Problem as problem:
            self._refuse(problem)
            return
        self._shared.has_head(self)
        self.begun_at = time.monotonic()
        self._body, self._came = begin_body(head.length, found[1], self._shared.body_bytes)
        if self._shared.application.takes_body(head.environ):
            self._wait_for_key()
        else:
            self._do_not_want()

    def _wait_for_key(self) -> None:
        assert self._head is not None
        admitted = self._decision if isinstance(self._decision, Admitted) else None
        self.state = State.KEY
        self._wait += 1
        lookup = self._shared.application.awaited(self._head.environ, admitted)
        if lookup is None:
            self.key_is_known(self._wait)
        elif self._shared.has_room(self):
            self.transport.pause_reading()
            self._shared.wait_for_key(self, self._wait, lookup)
        else:
            self.answer(self._shared.application.reception.no_room())

    def _do_not_want(self) -> None:
        """The body; when it comes soon, the connection is kept."""
        assert self._head is not None
        length = self._head.length
        if self._body.whole or length is None or length >= EARLY_BYTES or self._head.expects:
            self.answer()
        else:
            assert isinstance(self._body, SizedBody)
            self._body.drop()
            self._wait_for_body()

    def _wait_for_body(self) -> None:
        self.state = State.BODY
        self._shared.bodies.leave(self)
        if self._head is not None and isinstance(self._decision, Admitted):
            self._shared.wait_for_body(self, self._decision.stream, self._head.length)
        self._take_more()

    def pause_body(self) -> None:
        self.transport.pause_reading()

    def resume_body(self) -> None:
        self._shared.loop.call_soon(self._take_more)

    @guarded
    def _take_more(self) -> None:
        if self.state is State.BODY and not self.paused:
            came, self._came = self._came, b""
            self._take_body(came)

    def _take_body(self, came: bytes) -> None:
        # Only of the first read of chunks there is more.
        most = CHUNKS_BYTES if isinstance(self._body, ChunkedBody) else len(came)
        self._body.feed(came[:most])
        later = came[most:]
        if self._body.whole:
            self._came = self._body.behind + later
            if self.wanted and self._shared.has_room(self):
                self._wait_for_key()
            else:
                self.answer()
            return
        self._came = later
        if later:
            self.transport.pause_reading()
            self._shared.loop.call_soon(self._take_more)
        elif self._ended:
            self.answer(incomplete())
            return
        else:
            self.transport.resume_reading()
        self._shared.note(self)

    @guarded
    def answer(self, cut: Problem | None = None) -> None:
        """Do not wait for the rest of the body: why, None when it has come or nobody wants it."""
        assert self._head is not None
        self.state = State.ANSWER
        self._shared.pauses.leave(self)
        self._wait += 1
        body, self._body = self._body, NO_BODY
        self._kept = self._head.kept and body.ended and cut is None
        cut = cut or body.cut or (None if body.whole else incomplete())
        if cut is None:
            self._published_bytes = body.held_bytes
            if not self._shared.has_room(self):
                cut, self._kept = self._shared.application.reception.no_room(), False
        if cut is not None:
            self._lingers += body.missing if self.wanted else 0
            self._published_bytes = 0
            self._shared.bodies.leave(self)
        taken = Taken(body.taken if cut is None else b"", self._decision, cut)
        self._decision = None
        self._shared.application.answer(self._head.environ, taken, partial(self._respond, self._wait))

    def _refuse(self, problem: Problem) -> None:
        self._shared.has_head(self)
        self.state = State.ANSWER
        self._wait += 1
        self._respond(self._wait, answers.refusal(problem, self._shared.readable))

    @guarded
    def _respond(self, wait: int, response: Response) -> None:
        if wait == self._wait:
            self._shared.bodies.leave(self)
            if self.state is State.ANSWER:
                self._send(response)
        try:
            response.close()
        except Exception as error:
            # It is answered.
            self._shared.failed(self, error)

    def _send(self, response: Response) -> None:
        kept = self._kept and not self._shared.stopping
        bodiless = self._head is not None and self._head.environ["REQUEST_METHOD"] == "HEAD"
        self.transport.write(answers.encode(response, kept=kept, bodiless=bodiless))
        self._shared.answered += 1
        self._forget()
        if not kept:
            self._came = b""
            self._end()
            return
        self.state = State.HEAD
        self._shared.wait_for_head(self)
        if self._came:
            # The others come first.
            self._again = True
            self._shared.loop.call_soon(self._go_on)
        else:
            self._wait_for_more()

    @guarded
    def _go_on(self) -> None:
        self._again = False
        if self.state is not State.HEAD or self._choked:
            return
        self._take_head()
        if self.state is State.HEAD and not self._again:
            self._wait_for_more()

    def _wait_for_more(self) -> None:
        if self._ended:
            self._end()
        else:
            self.transport.resume_reading()

    def _end(self) -> None:
        """After the last answer. A transport that is closed waits for the agent to read, for ever."""
        self.state = State.LAST
        self._shared.wait_for_end(self)
        if self._ended:
            self.transport.close()
        else:
            self.transport.resume_reading()
            self._shared.tell_end(self)

"""The Flask application as a server's loop calls it: with whole bodies, and without waiting."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any

from flask import Flask, Response

from webapp import problems
from webapp.problems import Problem
from webapp.receiving import cors
from webapp.receiving.accept import BatchAcceptor
from webapp.receiving.body import Environ
from webapp.receiving.heads import TAKEN, Admitted, HeadResult, MediaType, Taken
from webapp.receiving.when_confirmed import WhenConfirmed
from webapp.serving import answers

WAITING = 64
"""So many requests of paths that wait may be under way or queue; more are refused."""

Answer = Callable[[Response], None]


class LoopApplication:
    """Of one loop. `batches`: what may be posted where. `waits`: the paths whose answers wait for others, and
    which are called in one of so many `threads`. `cors_origin`: whose pages may read what the application
    never hears of.
    """

    def __init__(
        self,
        app: Flask,
        reception: BatchAcceptor,
        batches: Mapping[str, Mapping[str, MediaType]],
        *,
        waits: frozenset[str],
        threads: int,
        cors_origin: str,
    ) -> None:
        self._app = app
        self._cors_origin = cors_origin
        self.reception = reception
        self._batches = batches
        self._waits = waits
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="waits")
        self._under_way = 0

    def takes_body(self, environ: Environ) -> bool:
        """Whether the request brings a batch; no other request's body is looked at."""
        return environ["REQUEST_METHOD"] == "POST" and environ["PATH_INFO"] in self._batches

    def awaited(self, environ: Environ, admitted: Admitted | None = None) -> "Future[Any] | None":
        """The look-up to wait for before `decide` or `answer`, of a request that brings a batch."""
        return self.reception.awaited(environ, admitted)

    def decide(self, environ: Environ) -> HeadResult:
        """What the head of a request that brings a batch was found to be."""
        environ[TAKEN] = Taken()
        try:
            return self.reception.admit(environ, self._batches[environ["PATH_INFO"]])
        except Problem as problem:
            return problem
        except Exception as error:
            return problems.internal(error)

    def answer(self, environ: Environ, taken: Taken, answer: Answer) -> None:
        """Call the application, and `answer` with what it says: later, or at once. A batch is published
        before, and its confirm has come. `answer` may be called once more when something fails then.
        """
        environ[TAKEN] = taken
        if environ["PATH_INFO"] in self._waits:
            self._call_in_thread(environ, taken, answer)
        else:
            self._called(environ, self._call(environ), taken, answer)

    def close(self) -> None:
        """Who waits is not waited for."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _call_in_thread(self, environ: Environ, taken: Taken, answer: Answer) -> None:
        if self._under_way >= WAITING:
            self._called(environ, self._full(environ), taken, answer)
            return
        loop = asyncio.get_running_loop()

        def done(response: Response) -> None:
            self._under_way -= 1
            self._called(environ, response, taken, answer)

        def call() -> None:
            response = self._call(environ)
            # It may end after the loop.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(done, response)

        self._under_way += 1
        try:
            self._threads.submit(call)
        except RuntimeError as error:
            # No thread can be begun.
            done(self._failed(environ, error))

    def _call(self, environ: Environ) -> Response:
        """As Flask's own `wsgi_app`, but for the answer, which is not sent."""
        try:
            with self._app.request_context(environ):
                try:
                    return self._app.full_dispatch_request()
                except Exception as error:
                    return self._app.handle_exception(error)
        except Exception as error:
            return self._failed(environ, error)

    def _called(self, environ: Environ, response: Response, taken: Taken, answer: Answer) -> None:
        # The batch is encoded by now, and is held once.
        taken.body = b""
        try:
            if isinstance(response, WhenConfirmed):
                response.begin(partial(answer, response))
                return
        except Exception as error:
            response = self._failed(environ, error)
        finally:
            if isinstance(left := taken.take(), Admitted):
                # Nobody came to it.
                self.reception.release(left)
        answer(response)

    def _failed(self, environ: Environ, error: Exception) -> Response:
        return self._refusal(environ, problems.internal(error))

    def _full(self, environ: Environ) -> Response:
        said = "too many requests wait for the same"
        return self._refusal(environ, self.reception.later(problems.OVERLOADED, said))

    def _refusal(self, environ: Environ, problem: Problem) -> Response:
        """As `answers.refusal`, of a request whose head is known."""
        return answers.refusal(problem, cors.readable_by(environ, self._cors_origin))

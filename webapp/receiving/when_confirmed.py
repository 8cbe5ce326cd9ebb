"""An answer that may go out after the broker's confirm, and never before."""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Response

from webapp.problems import Problem
from webapp.receiving.accept import BatchAcceptor
from webapp.receiving.body import Environ
from webapp.receiving.heads import Kept


class WhenConfirmed(Response):
    """The success of a batch that is still to be published; turns into the refusal when that fails.

    A server that runs the broker's loop calls `begin`. Under any other WSGI server the thread waits.
    """

    def __init__(
        self,
        body: str | bytes,
        status: int,
        content_type: str,
        *,
        reception: BatchAcceptor,
        kept: Kept,
        refused: Callable[[Problem], Response],
    ) -> None:
        super().__init__(body, status, content_type=content_type)
        self._wishes = kept.admitted.wishes.headers()
        self.headers.update(self._wishes)
        self._reception = reception
        self._kept = kept
        self._refused = refused

    def begin(self, done: Callable[[], None]) -> None:
        """Publish, on the broker's loop; `done` is called when this is the answer."""

        def settled(problem: Problem | None) -> None:
            if problem is not None:
                self._become(problem)
            done()

        self._reception.begin(self._kept, settled)

    def __call__(self, environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Publish, wait for the confirm, and answer."""
        try:
            self._reception.publish(self._kept)
        except Problem as problem:
            self._become(problem)
        return super().__call__(environ, start_response)

    def _become(self, problem: Problem) -> None:
        """What was added to the headers since, as for CORS, stays; the agent is asked for nothing but what
        the refusal says.
        """
        for name in self._wishes:
            del self.headers[name]
        refusal = self._refused(problem)
        self.status_code = refusal.status_code
        self.headers.update(refusal.headers)
        self.set_data(refusal.get_data())

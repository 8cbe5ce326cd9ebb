"""What a request's head alone decides: asked by a server before it waits for a body."""

from collections.abc import Mapping

from webapp.problems import Problem, internal
from webapp.receiving.accept import BatchAcceptor, HeadResult, MediaType
from webapp.receiving.body import Environ


class HeadCheck:
    """Thread-safe. `paths`: what may be posted where."""

    def __init__(self, reception: BatchAcceptor, paths: Mapping[str, Mapping[str, MediaType]]) -> None:
        self._reception = reception
        self._paths = paths

    def decide(self, environ: Environ) -> HeadResult | None:
        """Admitted when the body is wanted, the Problem to answer, and None where the application answers
        without a body. Blocks for the deadline of the key at most.
        """
        formats = self._paths.get(environ["PATH_INFO"])
        if formats is None or environ["REQUEST_METHOD"] != "POST":
            return None
        try:
            return self._reception.admit(environ, formats)
        except Problem as problem:
            return problem
        except Exception as error:
            return internal(error)

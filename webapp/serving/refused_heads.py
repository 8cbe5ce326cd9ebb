"""Refusals of requests that the application never hears of: their heads are no HTTP, or the server failed."""

import socket
from http import HTTPStatus

from gunicorn import util  # type: ignore[import-untyped] # ships no types
from gunicorn.http import errors  # type: ignore[import-untyped] # the same

from webapp import problems
from webapp.metrics import REFUSALS
from webapp.problems import PROBLEM_JSON, Problem
from webapp.receiving import cors

_KINDS = (
    (errors.LimitRequestLine, problems.PATH_TOO_LONG),
    (errors.LimitRequestHeaders, problems.HEAD_TOO_LARGE),
    (errors.UnsupportedTransferCoding, problems.UNKNOWN_TRANSFER_CODING),
    (errors.ExpectationFailed, problems.UNKNOWN_EXPECTATION),
    (errors.ParseException, problems.BAD_REQUEST),
)
# Named like the others, and no fault of the request's.
_OURS = (errors.InvalidResponseHeader, errors.InvalidResponseHeaderName, errors.ConfigurationProblem)
_DETAIL_CHARACTERS = 200


def problem_of(error: Exception) -> Problem:
    """What gunicorn's error means for the agent."""
    if isinstance(error, _OURS):
        return problems.internal(error)
    for kind, problem in _KINDS:
        if isinstance(error, kind):
            return Problem(problem, str(error)[:_DETAIL_CHARACTERS])
    return problems.internal(error)


def refuse(connection: socket.socket, problem: Problem, origin: str) -> None:
    """Answer with the problem, counted; the connection is to be closed. `origin`: whose pages may read it."""
    REFUSALS.labels(problem.kind.slug).inc()
    body = problem.body()
    headers = {
        "Connection": "close",
        "Content-Type": PROBLEM_JSON,
        "Content-Length": str(len(body)),
        **problem.headers,
        **cors.readable(origin),
    }
    status = HTTPStatus(problem.kind.status)
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    util.write_nonblock(connection, "\r\n".join([*lines, "", ""]).encode("latin-1") + body)

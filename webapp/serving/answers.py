"""An answer's bytes."""

import time
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus

from flask import Response

from webapp.metrics import REFUSALS
from webapp.problems import PROBLEM_JSON, Problem

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"

_LINES = {one.value: f"HTTP/1.1 {one.value} {one.phrase}\r\nServer: gunicorn\r\nDate: " for one in HTTPStatus}
_KEPT = "\r\nConnection: keep-alive\r\n"
_CLOSED = "\r\nConnection: close\r\n"


class _Date:
    """As the header has it, made anew once a second."""

    second = 0
    text = ""


def encode(response: Response, *, kept: bool, bodiless: bool = False) -> bytes:
    """The answer as HTTP/1.1 has it; `kept`: the connection stays. `bodiless`: to HEAD.

    Values of headers are latin-1, and werkzeug lets none have a line end.
    """
    now = int(time.time())
    if now != _Date.second:
        _Date.second, _Date.text = now, formatdate(now, usegmt=True)
    body = response.get_data()
    lines = [_LINES[response.status_code], _Date.text, _KEPT if kept else _CLOSED]
    for name, value in response.headers:
        if name != "Content-Length":
            lines.append(f"{name}: {value}\r\n")
    if response.status_code != HTTPStatus.NO_CONTENT:
        lines.append(f"Content-Length: {len(body)}\r\n")
    lines.append("\r\n")
    head = "".join(lines).encode("latin-1", "replace")
    return head if bodiless else head + body


def refusal(problem: Problem, readable: Mapping[str, str]) -> Response:
    """Of a request that the application never hears of, counted. `readable`: the headers of CORS."""
    REFUSALS.labels(problem.kind.slug).inc()
    headers = {**problem.headers, **readable}
    return Response(problem.body(), problem.kind.status, headers, content_type=PROBLEM_JSON)

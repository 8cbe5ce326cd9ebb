"""Refusals outside of the batches' paths, and the page that a problem's type leads to."""

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound

from webapp import problems
from webapp.problems import PROBLEMS, Problem
from webapp.receiving.batches import answer
from webapp.receiving.cors import POSTS


def register(app: Flask) -> None:
    """Answer every error of the application as problem+json, never with a traceback."""
    app.before_request(_astray)
    app.register_error_handler(NotFound, _not_found)
    app.register_error_handler(MethodNotAllowed, _method_not_allowed)
    app.register_error_handler(HTTPException, _other)
    app.register_error_handler(Exception, _failed)
    app.add_url_rule("/problems/<slug>", view_func=explain)


def _astray() -> Response | None:
    """What is refused before it is asked who answers the path. Batches are looked at where all of their heads
    are.
    """
    path = request.environ["PATH_INFO"]
    if request.method == "POST" and path in POSTS:
        return None
    # Routing would take the slashes away, and whoever compares paths, as for CORS, would not.
    if path.startswith("//"):
        return answer(Problem(problems.NOT_FOUND, "unknown path"))
    try:
        problems.check_host(request.environ)
    except Problem as problem:
        return answer(problem)
    return None


def explain(slug: str) -> Response:
    """What the problem means and what to do about it, as text for people."""
    kind = PROBLEMS.get(slug)
    if kind is None:
        return answer(Problem(problems.NOT_FOUND, "there is no such problem"))
    text = f"{kind.title} ({kind.status})\n\n{kind.remedy}\nTry again: {kind.retry}\n"
    return Response(text, 200, content_type="text/plain; charset=utf-8")


def _not_found(_error: NotFound) -> Response:
    return answer(Problem(problems.NOT_FOUND, "unknown path"))


def _method_not_allowed(error: MethodNotAllowed) -> Response:
    allowed = ", ".join(sorted(error.valid_methods or ()))
    return answer(Problem(problems.METHOD_NOT_ALLOWED, f"allowed: {allowed}", headers={"Allow": allowed}))


def _other(error: HTTPException) -> Response:
    response = error.get_response()
    return response if isinstance(response, Response) else Response(status=error.code or 500)


def _failed(error: Exception) -> Response:
    return answer(problems.internal(error))

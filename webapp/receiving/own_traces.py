"""The receiver's own traces: a request that brings a batch is a span."""

import time

from flask import Flask, Response, request

import tracing
from tracing import Attributes, Tracer
from webapp.receiving import batches, otlp
from webapp.receiving.accept import CUSTOMER
from webapp.receiving.body import LENGTH_FORM, Environ

_PATHS = frozenset({batches.PATH, *otlp.FORMATS})
_BEGUN = "sluice.begun_ns"


def register(app: Flask, tracer: Tracer) -> None:
    """Trace what agents post, when a collector is configured; else no request costs anything.

    An agent's own trace is linked and not continued: it would decide what is sampled here, and it is told to
    other people.
    """
    if not tracing.configured():
        return

    @app.before_request
    def begin() -> None:
        request.environ[_BEGUN] = time.time_ns()

    @app.after_request
    def tell(response: Response) -> Response:
        environ = request.environ
        path = environ["PATH_INFO"]
        if environ["REQUEST_METHOD"] != "POST" or path not in _PATHS:
            return response
        customer = environ.get(CUSTOMER)
        claimed = customer or tracing.claimed_customer(environ.get("HTTP_AUTHORIZATION", ""))
        if tracer.traces(claimed):
            # The answer may depend on the broker still.
            response.call_on_close(lambda: told(environ, path, customer, response.status_code))
        return response

    def told(environ: Environ, path: str, customer: str | None, status: int) -> None:
        with tracer.span(
            f"POST {path}",
            "server",
            _attributes(environ, path, status, customer),
            link=environ.get("HTTP_TRACEPARENT"),
            started_ns=environ.get(_BEGUN),
            error=str(status) if status >= 500 else None,
        ):
            pass  # the work is done


def _attributes(environ: Environ, path: str, status: int, customer: str | None) -> Attributes:
    """By OpenTelemetry's conventions for HTTP."""
    found: dict[str, str | int] = {
        "http.request.method": "POST",
        "http.route": path,
        "http.response.status_code": status,
        "url.path": path,
        "url.scheme": environ.get("wsgi.url_scheme", "http"),
    }
    length = environ.get("CONTENT_LENGTH") or ""
    if LENGTH_FORM.fullmatch(length):
        found["http.request.body.size"] = int(length)
    if customer is not None:
        found[tracing.CUSTOMER] = customer
    return found

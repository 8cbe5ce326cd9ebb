"""What browsers need to post batches from a page (CORS).

Whose pages may post with a public key the key itself says, when the request comes: a page of another origin
may read that it is refused. `SLUICE_HTTP_CORS_ORIGIN` is for pages with keys in headers.

A page that sends JSON with `navigator.sendBeacon`, as older web SDKs do, sends a request with credentials,
whether it has any or not. Browsers let it out only if that is allowed to its origin by name. The receiver
reads no credentials of a browser.
"""

from flask import Flask, Response, request

from webapp.receiving.authentication import ALLOWED_PAGE, IN_QUERY, PUBLIC
from webapp.receiving.body import Environ
from webapp.receiving.query import asked

ALLOWED_HEADERS = (
    *("Authorization", "Content-Type", "Content-Encoding", "Content-Digest", "Idempotency-Key"),
    *("Sluice-App-Id", "traceparent", "tracestate", "baggage", "X-Requested-With", "User-Agent"),
)
EXPOSED = "Retry-After, Sluice-Next-Batch-After, Sluice-Next-Batch-Max-Bytes, Sluice-Sample"
PREFLIGHT_AGE_S = 7200
"""Chromium's own upper bound; others cap it themselves."""
POSTS = frozenset({"/v1/batches", "/v1/traces", "/v1/logs"})
ANSWERING = POSTS | {"/v1/metrics"}
"""Where a page may post, if only to read why nothing of it is kept."""

_ALLOWED = {name.lower() for name in ALLOWED_HEADERS}


def readable(origin: str) -> dict[str, str]:
    """The headers that let pages of `origin` read an answer's status and when to come again."""
    if not origin:
        return {}
    found = {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": EXPOSED}
    return found if origin == "*" else found | {"Vary": "Origin"}


def readable_by(environ: Environ, origin: str) -> dict[str, str]:
    """The same of an answer to this request; `origin` is for those without a public key in the query."""
    if not (asked(environ, IN_QUERY) or "").startswith(PUBLIC):
        return readable(origin)
    # A preflight lets nothing in: whether the key is for this origin is looked at when the batch comes.
    page = environ.get("HTTP_ORIGIN") if _is_preflight(environ) else environ.get(ALLOWED_PAGE)
    if not page:
        return readable("*")
    return readable(page) | {"Access-Control-Allow-Credentials": "true"}


def register(app: Flask, origin: str) -> None:
    """Let pages of `origin` ("*": any, "": none) post batches and read the answer; without cookies. They may
    read each refusal, of whatever path.
    """

    @app.after_request
    def allow(response: Response) -> Response:
        environ = request.environ
        if "HTTP_ORIGIN" not in environ:
            return response
        posts = environ["PATH_INFO"] in ANSWERING
        if posts or response.status_code >= 400:
            found = readable_by(environ, origin)
            if posts and found and _is_preflight(environ):
                found |= _preflight(environ.get("HTTP_ACCESS_CONTROL_REQUEST_HEADERS", ""))
            response.headers.update(found)
        return response


def _is_preflight(environ: Environ) -> bool:
    return environ["REQUEST_METHOD"] == "OPTIONS" and "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ


def _preflight(headers: str) -> dict[str, str]:
    """Those of the headers asked for that are allowed, as they were asked for; all when none is named."""
    names = [name for name in map(str.strip, headers[:2000].split(",")) if name.lower() in _ALLOWED]
    return {
        "Access-Control-Allow-Methods": "POST",
        "Access-Control-Allow-Headers": ", ".join(dict.fromkeys(names) or ALLOWED_HEADERS),
        "Access-Control-Max-Age": str(PREFLIGHT_AGE_S),
    }

"""What browsers need to post batches from a page (CORS)."""

from flask import Flask, Response, request

ALLOWED_HEADERS = "Authorization, Content-Type, Content-Encoding, Content-Digest, Idempotency-Key"
PREFLIGHT_AGE_S = 7200
"""Chromium's own upper bound; others cap it themselves."""
POSTS = frozenset({"/v1/batches", "/v1/traces"})


def readable(origin: str) -> dict[str, str]:
    """The headers that let pages of `origin` read an answer's status and when to come again."""
    if not origin:
        return {}
    found = {"Access-Control-Allow-Origin": origin, "Access-Control-Expose-Headers": "Retry-After"}
    return found if origin == "*" else found | {"Vary": "Origin"}


def register(app: Flask, origin: str) -> None:
    """Let pages of `origin` ("*": any, "": none) post batches and read the answer; without cookies."""
    if not origin:
        return
    always = readable(origin)

    @app.after_request
    def allow(response: Response) -> Response:
        environ = request.environ
        if "HTTP_ORIGIN" not in environ or environ["PATH_INFO"] not in POSTS:
            return response
        headers = response.headers
        headers.update(always)
        if "HTTP_ACCESS_CONTROL_REQUEST_METHOD" in environ:
            headers["Access-Control-Allow-Methods"] = "POST"
            headers["Access-Control-Allow-Headers"] = ALLOWED_HEADERS
            headers["Access-Control-Max-Age"] = str(PREFLIGHT_AGE_S)
        return response

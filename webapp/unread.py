"""Announces the end of a connection whose request was refused without being read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from webapp.body import LENGTH_FORM, Environ

DRAINED_BYTES = 64 * 1024
"""So much of an unread body gunicorn discards after the answer; with more it ends the connection
(`gunicorn.http.parser`, `_DRAIN_MAX_BYTES`)."""

Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


def announcing(application: Application) -> Application:
    """The same application, whose answers say `Connection: close` where gunicorn will close.

    An agent that is not told sends its next batch into a connection that is about to go, and takes the
    reset for a failure of that batch. gunicorn ignores the header when an application sets it, so that
    its own response object is asked.
    """

    def announced(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if status[0] in "45" and _too_much_is_unread(environ):
                # No other server than gunicorn's has it, and none closes unannounced.
                force_close = getattr(getattr(start_response, "__self__", None), "force_close", None)
                if force_close is not None:
                    force_close()
            return start_response(status, headers, exc_info)

        return application(environ, start)

    return announced


def _too_much_is_unread(environ: Environ) -> bool:
    if "sluice.body_read" in environ:
        return False
    said = environ.get("CONTENT_LENGTH") or "0"
    return (
        "HTTP_TRANSFER_ENCODING" in environ or not LENGTH_FORM.fullmatch(said) or int(said) >= DRAINED_BYTES
    )

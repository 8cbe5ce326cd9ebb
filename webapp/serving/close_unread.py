"""Announces the end of a connection whose request was refused without being read."""

import select
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any

from webapp.receiving.body import LENGTH_FORM, Environ, Readable

DISCARDED_BYTES = 64 * 1024
"""An unread body of so many bytes ends its connection."""
DISCARDED_WITHIN_S = 0.5
"""A smaller one, too, when it has not come whole by then. Most agents send it right behind the head.
Our worker has waited before a thread gets the request; a thread waits where gunicorn itself ends TLS."""

Application = Callable[[Environ, Callable[..., Any]], Iterable[bytes]]


def announcing(application: Application) -> Application:
    """The same application, whose answers say `Connection: close` where a body was left unread.

    gunicorn waits for the rest of such a body after the answer, in the thread, and ends the connection when
    it does not come: 5 s for each piece. Slow agents would take all threads; and an agent that is not told
    sends its next batch into a connection that is about to go, and takes the reset for a failure of that
    batch. gunicorn ignores the header when an application sets it, so that its own response object is asked.
    """

    def announced(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
        def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
            if not _is_over(environ):
                # No other server than gunicorn's has it, and none closes unannounced.
                force_close = getattr(getattr(start_response, "__self__", None), "force_close", None)
                if force_close is not None:
                    force_close()
            return start_response(status, headers, exc_info)

        return application(environ, start)

    return announced


def _is_over(environ: Environ) -> bool:
    """Whether the body was read, or is a small one that could be discarded."""
    if "sluice.body_read" in environ:
        return True
    if "HTTP_TRANSFER_ENCODING" in environ:
        return False
    said = environ.get("CONTENT_LENGTH") or "0"
    length = int(said) if LENGTH_FORM.fullmatch(said) else DISCARDED_BYTES
    if length >= DISCARDED_BYTES:
        return False
    connection = environ.get("gunicorn.socket")
    if not length or connection is None:
        return True
    connection.setblocking(False)
    try:
        # The body itself counts as broken after an error, be it only that nothing has come yet.
        return _discard(environ["wsgi.input"].reader, length, connection)
    finally:
        connection.setblocking(True)


def _discard(body: Readable, length: int, connection: socket.socket) -> bool:
    """Whether that many bytes come in time. The socket doesn't block, so no piece is waited for by itself."""
    until = time.monotonic() + DISCARDED_WITHIN_S
    more = select.poll()
    more.register(connection, select.POLLIN)
    while True:
        try:
            return len(body.read(length)) == length
        except BlockingIOError:
            if not more.poll(max(0.0, until - time.monotonic()) * 1000):
                return False
        except OSError:
            return False

"""Reading a request's body: bounded before it is read, and bounded in time."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from gunicorn.http.errors import ParseException  # type: ignore[import-untyped] # ships no types

from webapp.problems import BODY_INCOMPLETE, BODY_TOO_LARGE, UNKNOWN_TRANSFER_CODING, Problem, too_slow

CHUNKED_STEP = 256 * 1024
"""Bytes asked for at once of a body without a length."""
LENGTH_FORM = re.compile(r"[0-9]{1,18}")

Environ = dict[str, Any]


class Readable(Protocol):
    """The part of wsgi.input that is used."""

    def read(self, size: int, /) -> bytes: ...


def announced_length(environ: Environ, *, limit: int) -> int | None:
    """The length that the request's headers say, in bytes; None for a body in chunks.

    Raises Problem: body-too-large, body-incomplete, unknown-transfer-coding.
    """
    said = environ.get("CONTENT_LENGTH")
    coding = environ.get("HTTP_TRANSFER_ENCODING")
    if coding is not None and coding.lower() != "chunked":
        # The server takes chunks away and leaves what is below them (RFC 9112, 6.1).
        raise Problem(UNKNOWN_TRANSFER_CODING, f"Transfer-Encoding is {coding[:100]!r}")
    if not said:
        return None if coding is not None else 0
    if LENGTH_FORM.fullmatch(said) is None:
        raise Problem(BODY_INCOMPLETE, "Content-Length is not a number")
    length = int(said)
    if length > limit:
        raise _too_large(limit)
    return length


def read_body(environ: Environ, *, limit: int, deadline: "BodyDeadline") -> bytes:
    """The body as sent. Reads nothing when the announced length is above `limit`, and stops at `limit`.
    A body that was read whole is marked in `environ`, so that its connection can be kept.

    Raises Problem: body-too-large, body-incomplete, body-too-slow.
    """
    stream: Readable = environ["wsgi.input"]
    length = announced_length(environ, limit=limit)
    if environ.get("CONTENT_LENGTH") and length is not None:
        with deadline.reading(environ.get("gunicorn.socket")) as watch:
            body = stream.read(length) if length else b""
        if len(body) < length:
            raise _cut_short(watch)
        environ["sluice.body_read"] = True
        return body
    if length is not None:
        return b""
    with deadline.reading(environ.get("gunicorn.socket")) as watch:
        try:
            body = _read_chunked(stream, limit)
        except (ParseException, OSError):
            raise _cut_short(watch) from None
    if len(body) > limit:
        raise _too_large(limit)
    environ["sluice.body_read"] = True
    return body


def _read_chunked(stream: Readable, limit: int) -> bytes:
    """At most one byte more than `limit`, so that the caller can tell."""
    parts: list[bytes] = []
    left = limit + 1
    while left and (part := stream.read(min(left, CHUNKED_STEP))):
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _too_large(limit: int) -> Problem:
    return Problem(BODY_TOO_LARGE, f"the limit is {limit} bytes as sent", members={"limit_bytes": limit})


def _cut_short(watch: "_Watch") -> Problem:
    if watch.over:
        return too_slow(watch.seconds)
    return Problem(BODY_INCOMPLETE, "the body ended early")


class _Watch:
    __slots__ = ("connection", "over", "seconds", "until")

    def __init__(self, connection: socket.socket | None, seconds: float) -> None:
        self.connection = connection
        self.seconds = seconds
        self.until = time.monotonic() + seconds
        self.over = False


class BodyDeadline:
    """Ends the reading of bodies that take longer than `seconds`, however steadily they trickle.

    gunicorn's `timeout` watches a gthread worker's main loop, not its requests, and a timeout of the socket
    starts anew with each byte. So one thread per worker looks once in a while and closes the reading side
    of late ones, which costs a request nothing but an entry in a dict.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._watches: dict[int, _Watch] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @contextmanager
    def reading(self, connection: socket.socket | None) -> Iterator[_Watch]:
        """While in this block the connection is watched; `.over` tells afterwards whether it was cut."""
        watch = _Watch(connection, self._seconds)
        if self._thread is None:
            self._start()
        self._watches[id(watch)] = watch
        try:
            yield watch
        finally:
            with self._lock:
                del self._watches[id(watch)]

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()

    def _start(self) -> None:
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="body-deadlines", daemon=True)
                self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(min(1.0, self._seconds / 4)):
            now = time.monotonic()
            # The lock keeps a connection from being cut after its request has finished and the next has
            # begun.
            with self._lock:
                for watch in list(self._watches.values()):
                    if watch.until < now and watch.connection is not None:
                        watch.over = True
                        _end_reading(watch.connection)


def _end_reading(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RD)
    except OSError:
        # It ended by itself in the meantime.
        return

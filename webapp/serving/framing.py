"""A request's body as it comes: with its head, with a length, or in chunks."""

import re

from gunicorn.http.body import CHUNK_EXT_RE  # type: ignore[import-untyped] # ships no types

from webapp.problems import Problem
from webapp.receiving.body import incomplete, too_large

_SIZE_FORM = re.compile(rb"([0-9A-Fa-f]+)([ \t]*;.*)?", re.DOTALL)
# Of those that RFC 9110, 6.5.1, keeps out of trailers; all are thrown away.
_FORBIDDEN = rb"(?!(?:host|content-length|transfer-encoding|trailer|authorization|te):)"
_TRAILERS_FORM = re.compile(
    rb"(?:" + _FORBIDDEN + rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t !-~\x80-\xff]*\r\n)*\r\n", re.IGNORECASE
)
_LINE_BYTES = 8190
_TRAILER_BYTES = 32 * 1024


class WholeBody:
    """A body that came with its head."""

    whole = ended = True
    missing = 0
    cut: Problem | None = None

    def __init__(self, taken: bytes) -> None:
        self.taken = taken
        self.behind = b""

    @property
    def held_bytes(self) -> int:
        return len(self.taken)

    def feed(self, piece: bytes) -> None:
        """What comes begins the next request."""
        self.behind = piece


class SizedBody:
    """A body with a length, as far as it has come."""

    def __init__(self, length: int) -> None:
        self.taken = bytearray()
        self.behind = b""
        self.cut: Problem | None = None
        self.missing = length

    @property
    def whole(self) -> bool:
        return not self.missing

    @property
    def ended(self) -> bool:
        """Whether it is known where the next request begins."""
        return not self.missing

    @property
    def held_bytes(self) -> int:
        return len(self.taken)

    def drop(self) -> None:
        """Nobody wants it: what comes is counted, and not kept."""
        self.taken = bytearray()
        self.cut = incomplete()

    def feed(self, piece: bytes) -> None:
        """Take what has come; what is behind the body begins the next request."""
        part = piece[: self.missing]
        self.missing -= len(part)
        if self.cut is None:
            self.taken += part
        self.behind = piece[len(part) :]


class ChunkedBody:
    """A body in chunks (RFC 9112, 7.1), as far as it has come: without the lines between the chunks, so that
    small ones cost no more than large ones. At more than `most` bytes, or at something malformed, it is over,
    and `cut` says why.
    """

    missing = 0

    def __init__(self, most: int) -> None:
        self.taken = bytearray()
        self.behind = b""
        self.whole = False
        self.cut: Problem | None = None
        self._most = most
        self._raw = b""
        # Bytes that are missing of the chunk that has begun; -1: its end of line, None: the next one's size.
        self._left: int | None = None
        self._trailers = False

    @property
    def ended(self) -> bool:
        """Whether it is known where the next request begins."""
        return self.whole and self.cut is None

    @property
    def held_bytes(self) -> int:
        return len(self.taken) + len(self._raw)

    def feed(self, piece: bytes) -> None:
        """Take what has come; what is behind the body begins the next request."""
        raw, at = self._raw + piece, 0
        while not self.whole:
            step = self._step(raw, at)
            if step == 0:
                break
            at += step
        if self.whole:
            self._raw, self.behind = b"", raw[at:]
        else:
            self._raw = raw[at:]

    def _step(self, raw: bytes, at: int) -> int:
        """How many of the bytes are understood next; 0 when none is, until more comes."""
        if self._trailers:
            return self._end(raw, at)
        if self._left is None:
            return self._size(raw, at)
        if self._left == -1:
            return self._line_end(raw, at)
        part = raw[at : at + self._left]
        self.taken += part
        self._left = self._left - len(part) or -1
        if len(self.taken) > self._most:
            self._over(too_large(self._most))
        return len(part)

    def _line_end(self, raw: bytes, at: int) -> int:
        found = raw[at : at + 2]
        if found == b"\r\n":
            self._left = None
            return 2
        return 0 if found in (b"", b"\r") else self._over(incomplete())

    def _size(self, raw: bytes, at: int) -> int:
        end = raw.find(b"\r\n", at, at + _LINE_BYTES)
        if end < 0:
            # A chunk's line may end anywhere in what has come, but not with a line feed alone.
            odd = len(raw) - at >= _LINE_BYTES or b"\n" in raw[at:]
            return self._over(incomplete()) if odd else 0
        found = _SIZE_FORM.fullmatch(raw, at, end)
        if found is None or not CHUNK_EXT_RE.fullmatch(found[2] or b""):
            return self._over(incomplete())
        size = int(found[1], 16)
        self._left = size or None
        self._trailers = not size
        return end + 2 - at

    def _end(self, raw: bytes, at: int) -> int:
        if raw.startswith(b"\r\n", at):
            end = at + 2
        elif (found := raw.find(b"\r\n\r\n", at, at + _TRAILER_BYTES)) >= 0:
            end = found + 4
            if _TRAILERS_FORM.fullmatch(raw, at, end) is None:
                return self._over(incomplete())
        else:
            return self._over(incomplete()) if len(raw) - at >= _TRAILER_BYTES else 0
        self.whole = True
        return end - at

    def _over(self, cut: Problem) -> int:
        self.whole = True
        self.cut = cut
        return 0


Body = WholeBody | SizedBody | ChunkedBody
"""`whole`: no more of it is waited for. `ended`: it is known where the next request begins: with `behind`.
`missing`: so many bytes of it are known to come.
"""
NO_BODY = WholeBody(b"")


def begin_body(length: int | None, came: bytes, most: int) -> tuple[Body, bytes]:
    """The body of a head with this length, None for chunks of `most` bytes at most; and what has come that is
    not read yet: what is behind it, or chunks. Small ones cost much, and it may be that nobody wants them.
    """
    if length is None:
        return ChunkedBody(most), came
    if len(came) >= length:
        return WholeBody(came[:length]), came[length:]
    body = SizedBody(length)
    body.feed(came)
    return body, b""

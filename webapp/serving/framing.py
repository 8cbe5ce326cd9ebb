"""Where a request's body ends, as its head says it: only as much of HTTP as that takes.

What is odd is left to gunicorn's parser, which refuses it.
"""

import re
from dataclasses import dataclass

from gunicorn.http.body import CHUNK_EXT_RE  # type: ignore[import-untyped] # ships no types

_FIELDS = re.compile(rb"\r\n(content-length|transfer-encoding|expect):[ \t]*([^\r\n]*)")
_LENGTH_FORM = re.compile(rb"[0-9]{1,18}")
_SIZE_FORM = re.compile(rb"([0-9A-Fa-f]+)([ \t]*;.*)?", re.DOTALL)
_LINE_BYTES = 8190
_READ_AHEAD_BYTES = 2048
_TRAILER_BYTES = 32 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Framing:
    """Of a request with a body: its length in bytes, None when it comes in chunks; and whether the agent
    waits for `100 Continue`.
    """

    length: int | None
    expects: bool


def framing(head: bytes) -> Framing | None:
    """Of a whole head; None for a request without a body, and for one that the parser will refuse."""
    head = head.lower()
    fields = _FIELDS.findall(head)
    if not fields:
        return None
    lengths = [value.rstrip(b" \t") for name, value in fields if name == b"content-length"]
    codings = [value.rstrip(b" \t") for name, value in fields if name == b"transfer-encoding"]
    expects = any(name == b"expect" and value.rstrip(b" \t") == b"100-continue" for name, value in fields)
    # An agent of HTTP/1.0 would take it for the answer (RFC 9110, 15.2).
    expects = expects and not head.lstrip(b"\r\n").partition(b"\r\n")[0].endswith(b" http/1.0")
    if codings == [b"chunked"] and not lengths:
        return Framing(length=None, expects=expects)
    if len(lengths) == 1 and not codings and _LENGTH_FORM.fullmatch(lengths[0]) and int(lengths[0]):
        return Framing(length=int(lengths[0]), expects=expects)
    return None


class SizedBody:
    """A body with a length, as far as it has come."""

    def __init__(self, length: int) -> None:
        self.taken = bytearray()
        self._length = length

    @property
    def missing(self) -> int:
        """So many bytes may be read from the connection without reading into the next request."""
        return self._length - len(self.taken)

    @property
    def whole(self) -> bool:
        return not self.missing

    def feed(self, piece: bytes) -> None:
        """Take no more than what is missing."""
        self.taken += piece

    def framed(self) -> bytearray:
        """What the parser is to read."""
        return self.taken

    behind = b""
    """Bytes of the next request that were read with this one."""


class ChunkedBody:
    """A body in chunks (RFC 9112, 7.1), as far as it has come: without the lines between the chunks, so that
    small ones cost no more than large ones. At more than `most` bytes, or at something malformed, it is over,
    and the parser is to find out why.
    """

    missing = 16 * 1024
    """Asked for at once: the scan of the smallest chunks holds the main loop for some milliseconds."""

    def __init__(self, most: int) -> None:
        self.taken = bytearray()
        self.behind = b""
        self.whole = False
        self._most = most
        self._raw = b""
        self._tail = b""
        # Bytes that are missing of the chunk that has begun; -1: its end of line, None: the next one's size.
        self._left: int | None = None
        self._trailers = False

    def feed(self, piece: bytes) -> None:
        """Take what has come."""
        raw, at = self._raw + piece, 0
        while not self.whole:
            step = self._step(raw, at)
            if step == 0:
                break
            at += step
        self._raw = raw[at:]

    def framed(self) -> bytes:
        """What the parser is to read: all that was taken as one chunk, and what was not understood."""
        missing = self._left if self._left is not None and self._left > 0 else 0
        if not self.taken and not missing:
            return self._rest()
        end = b"" if self._left is not None else b"\r\n"
        return b"%x\r\n" % (len(self.taken) + missing) + self.taken + end + self._rest()

    def _rest(self) -> bytes:
        return (b"0\r\n" if self._trailers else b"") + self._tail + self._raw

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
        # The parser asks for a little more than the application does.
        self.whole = len(self.taken) > self._most + _READ_AHEAD_BYTES
        return len(part)

    def _line_end(self, raw: bytes, at: int) -> int:
        found = raw[at : at + 2]
        if found == b"\r\n":
            self._left = None
            return 2
        self.whole = found not in (b"", b"\r")
        return 0

    def _size(self, raw: bytes, at: int) -> int:
        end = raw.find(b"\r\n", at, at + _LINE_BYTES)
        if end < 0:
            self.whole = len(raw) - at >= _LINE_BYTES
            return 0
        found = _SIZE_FORM.fullmatch(raw, at, end)
        if found is None or not CHUNK_EXT_RE.fullmatch(found[2] or b""):
            self.whole = True
            return 0
        size = int(found[1], 16)
        self._left = size or None
        self._trailers = not size
        return end + 2 - at

    def _end(self, raw: bytes, at: int) -> int:
        """Trailers stay as they came: whether they are allowed is the parser's to say."""
        if raw.startswith(b"\r\n", at):
            end = at + 2
        elif (found := raw.find(b"\r\n\r\n", at, at + _TRAILER_BYTES)) >= 0:
            end = found + 4
        else:
            self.whole = len(raw) - at >= _TRAILER_BYTES
            return 0
        self.whole = True
        self._tail, self.behind = raw[at:end], raw[end:]
        return len(raw) - at

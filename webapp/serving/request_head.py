"""The head of a request, from its bytes to what an application is told of it."""

from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

import httptools

from webapp import problems
from webapp.problems import Problem
from webapp.receiving.body import LENGTH_FORM, Environ

HEAD_BYTES = 32 * 1024
"""Longest head of a request, its request line included; a longer one is answered 431."""
LINE_BYTES = 4094
"""Longest request line; a longer one is answered 414."""
FIELD_BYTES = 8190
FIELDS = 100
"""So many headers there may be, each so long with its name and line end; else the answer is 431."""

_END = b"\r\n\r\n"
_NAMES = {b"content-type": "CONTENT_TYPE", b"content-length": "CONTENT_LENGTH"}
_SINGLE = frozenset({"HTTP_HOST", "CONTENT_TYPE", "CONTENT_LENGTH"})
_NAMES_KEPT = 1000


@dataclass(slots=True, kw_only=True)
class RequestHead:
    """`length`: of the body, in bytes; None when it comes in chunks. `kept`: the agent keeps its connection.
    `expects`: it waits for `100 Continue`.
    """

    environ: Environ
    length: int | None
    kept: bool
    expects: bool


class _Fields:
    """What the parser calls."""

    __slots__ = ("fields", "target", "whole")

    def __init__(self) -> None:
        self.target = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.whole = False

    def on_url(self, part: bytes) -> None:
        self.target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_headers_complete(self) -> None:
        self.whole = True


def split_head(came: bytes) -> tuple[bytes, bytes] | None:
    """The first head of what has come, and what is behind it; None while it is not whole. Raises Problem."""
    # RFC 9112, 2.2: an empty line may stand before the request line.
    begin = 2 if came.startswith(b"\r\n") else 0
    end = came.find(_END, begin)
    if (len(came) if end < 0 else end) - begin > HEAD_BYTES:
        raise Problem(problems.HEAD_TOO_LARGE, f"the limit is {HEAD_BYTES} bytes")
    if end >= 0:
        end += len(_END)
        return came[begin:end], came[end:]
    if b"\n" in came[begin:].replace(b"\r\n", b""):
        raise _malformed("a line ends without CR")
    return None


def read_head(head: bytes, connection: Environ) -> RequestHead:
    """Of bytes that end with the empty line, from a connection with these variables: they become those of
    the request. Raises Problem.
    """
    line_end = head.find(b"\r\n", 0, LINE_BYTES + 2)
    if line_end < 0:
        raise Problem(problems.PATH_TOO_LONG, f"the limit is {LINE_BYTES} bytes")
    found = _Fields()
    parser = httptools.HttpRequestParser(found)
    try:
        parser.feed_data(head)
    except httptools.HttpParserUpgrade:
        pass  # it is answered as what it is without (RFC 9110, 7.8)
    except httptools.HttpParserError as error:
        # It has other words for a coding that is not known, when it has seen all.
        if not found.whole:
            raise _malformed(str(error)) from None
    version = parser.get_http_version()
    # It takes those of RTSP and ICE, too, and any number of empty lines before the request line.
    if not found.whole or version not in ("1.1", "1.0") or b" HTTP/1." not in head[:line_end]:
        raise _malformed("it is no request of HTTP/1.1")
    environ = connection
    environ["REQUEST_METHOD"] = parser.get_method().decode("latin-1")
    environ["SERVER_PROTOCOL"] = f"HTTP/{version}"
    _target(environ, found.target)
    _fields(environ, found.fields)
    expectation = environ.get("HTTP_EXPECT")
    if expectation is not None and expectation.lower() != "100-continue":
        raise Problem(problems.UNKNOWN_EXPECTATION, f"Expect is {expectation[:100]!r}")
    return RequestHead(
        environ=environ,
        length=_length(environ),
        kept=_is_kept(environ, version),
        # An agent of HTTP/1.0 would take it for the answer (RFC 9110, 15.2).
        expects=expectation is not None and version == "1.1",
    )


def _target(environ: Environ, target: bytes) -> None:
    if not target.startswith(b"/"):
        # A proxy's form has the host before the path (RFC 9112, 3.2.2).
        scheme, found, rest = target.partition(b"://")
        if found and scheme.lower() in (b"http", b"https"):
            target = b"/" + rest.partition(b"/")[2]
        elif target != b"*":
            raise _malformed("the request's target is no path")
    path, _, query = target.partition(b"#")[0].partition(b"?")
    environ["PATH_INFO"] = (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1")
    environ["QUERY_STRING"] = query.decode("latin-1")


def _fields(environ: Environ, fields: list[tuple[bytes, bytes]]) -> None:
    if len(fields) > FIELDS:
        raise Problem(problems.HEAD_TOO_LARGE, f"the limit is {FIELDS} headers")
    for name, value in fields:
        if len(name) + len(value) + 4 > FIELD_BYTES:
            raise Problem(problems.HEAD_TOO_LARGE, f"the limit is {FIELD_BYTES} bytes of a header")
        variable = _NAMES.get(name) or _variable(name)
        if not variable:
            continue
        said = value.decode("latin-1").strip(" \t")
        if variable in environ:
            if variable in _SINGLE:
                raise _malformed("a header that may be there once is there twice")
            said = f"{environ[variable]},{said}"
        environ[variable] = said


def _variable(name: bytes) -> str:
    """ "" for one with an underscore: it would pass for the header that has a hyphen there."""
    if b"_" in name:
        return ""
    lower = name.lower()
    variable = _NAMES.get(lower) or "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
    if len(_NAMES) < _NAMES_KEPT:
        _NAMES[name] = variable
    return variable


def _is_kept(environ: Environ, version: str) -> bool:
    """As RFC 9112, 9.3, has it; the parser forgets it at the end of a request."""
    options = environ.get("HTTP_CONNECTION")
    if options is None:
        return version == "1.1"
    named = [option.strip(" \t") for option in options.lower().split(",")]
    return "close" not in named and (version == "1.1" or "keep-alive" in named)


def _length(environ: Environ) -> int | None:
    coding = environ.get("HTTP_TRANSFER_ENCODING")
    if coding is not None:
        if coding.lower() != "chunked" or environ["SERVER_PROTOCOL"] == "HTTP/1.0":
            # Where such a body ends cannot be told.
            raise Problem(problems.UNKNOWN_TRANSFER_CODING, f"Transfer-Encoding is {coding[:100]!r}")
        return None
    said = environ.get("CONTENT_LENGTH", "0")
    if LENGTH_FORM.fullmatch(said) is None:
        raise _malformed("Content-Length is not a number")
    return int(said)


def _malformed(detail: str) -> Problem:
    return Problem(problems.BAD_REQUEST, detail)

"""Bodies that come in pieces are read as gunicorn reads them from a connection."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from gunicorn.config import Config  # type: ignore[import-untyped] # ships no types
from gunicorn.http.body import ChunkedReader  # type: ignore[import-untyped] # the same
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped] # the same
from gunicorn.http.message import Request  # type: ignore[import-untyped] # the same
from gunicorn.http.unreader import IterUnreader  # type: ignore[import-untyped] # the same
from hypothesis import given, strategies as st

from webapp.serving.framing import ChunkedBody, Framing, SizedBody, framing

MOST = 10_000
HEAD = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def read(pieces: Sequence[bytes]) -> tuple[bytes | None, bytes]:
    """What gunicorn makes of a chunked body, None for an error; and what it leaves."""
    unreader = IterUnreader([HEAD, *pieces])
    request = Request(Config(), unreader, ("127.0.0.1", 1))
    assert isinstance(request.body.reader, ChunkedReader)
    try:
        body = request.body.read()
    except (ParseException, OSError):
        return None, b""
    return body, unreader.take_buffered() + b"".join(unreader.iter or ())


def taken(pieces: Sequence[bytes]) -> tuple[bytes | None, bytes, bool]:
    chunked = ChunkedBody(MOST)
    left = list(pieces)
    while left and not chunked.whole:
        chunked.feed(left.pop(0))
    body, nothing = read([bytes(chunked.framed())])
    assert not nothing
    return body, chunked.behind + b"".join(left), chunked.whole


ODD_SIZES = [b"", b"0", b"00", b"0x1", b"-1", b"1_0", b"+1", b"g", b"1 ", b" 1", b"1;a", b"1;a=b", b"1;="]
SIZE = st.integers(0, 40).map(lambda size: b"%x" % size) | st.sampled_from(ODD_SIZES)
END = st.sampled_from([b"\r\n"] * 12 + [b"", b"\n", b"\r", b"\r\r\n"])
CHUNK = st.tuples(SIZE, END, st.binary(max_size=40), END).map(b"".join)
GOOD = st.binary(min_size=1, max_size=60).map(lambda data: b"%x\r\n%b\r\n" % (len(data), data))
ODD_ENDS = [b"", b"0\r\nX: 1\r\n\r\n", b"0\r\nHost: y\r\n\r\n", b"0\r\n\n\n", b"0;x\r\n\r\nnext"]
LAST = st.sampled_from([b"0\r\n\r\n"] * 6 + ODD_ENDS)
CHUNKS = st.lists(GOOD, max_size=4) | st.lists(GOOD | CHUNK, max_size=4)
BODY = st.builds(lambda chunks, last: b"".join(chunks) + last, CHUNKS, LAST)


@given(body=BODY, cuts=st.lists(st.integers(0, 300), max_size=6))
def test_chunks_in_any_pieces_are_what_gunicorn_reads(body: bytes, cuts: list[int]) -> None:
    places = [0, *sorted(cuts), len(body)]
    pieces = [piece for begin, end in pairwise(places) if (piece := body[begin:end])]
    found, behind, whole = taken(pieces)
    expected, left = read([body])
    assert found == expected
    if expected is not None:
        assert (whole, behind) == (True, left)


WHOLE_BODIES = [
    b"5\r\nhello\r\n0\r\n\r\n",
    b"2;a=b\r\nhi\r\n1 ; c\r\n!\r\n0\r\nX: 1\r\nY: 2\r\n\r\n",
    b"1\r\nx\r\n00;last\r\n\r\nGET / HTTP/1.1\r\n",
    b"1\r\nx\r\n0\r\n folded: 1\r\n\r\n",
]


@pytest.mark.parametrize("body", WHOLE_BODIES)
def test_chunks_cut_at_any_two_places_or_at_all_are_what_gunicorn_reads(body: bytes) -> None:
    expected, left = read([body])
    everywhere = [bytes([byte]) for byte in body]
    twice = [
        [body[:first], body[first:second], body[second:]]
        for first in range(1, len(body))
        for second in range(first + 1, len(body))
    ]
    for pieces in [everywhere, *twice]:
        found, behind, whole = taken(pieces)
        assert (found, whole) == (expected, True), pieces
        if expected is not None:
            assert behind == left, pieces


@pytest.mark.parametrize("size", [b"5 ", b"5\t", b" 5", b"0x5", b"+5", b"5_0", b"", b"\xb2"])
@pytest.mark.parametrize("rest", [b"", b";a=b"])
def test_a_chunks_size_is_read_as_gunicorn_reads_it(size: bytes, rest: bytes) -> None:
    body = size + rest + b"\r\nhello\r\n0\r\n\r\n"
    assert taken([body])[0] == read([body])[0]
    last = b"1\r\nx\r\n" + size.replace(b"5", b"0") + rest + b"\r\n\r\n"
    assert taken([last])[0] == read([last])[0]


def test_chunks_end_at_the_most_that_is_taken() -> None:
    chunked = ChunkedBody(MOST)
    while not chunked.whole:
        chunked.feed(b"1\r\nx\r\n")
    assert MOST < len(chunked.taken) < 2 * MOST
    assert len(chunked.framed()) < 2 * MOST


@pytest.mark.parametrize("never", [b"1" * 20_000, b"0\r\n" + b"X: 1\r\n" * 10_000, b"0;" + b"a" * 20_000])
def test_lines_that_do_not_end_are_given_up(never: bytes) -> None:
    chunked = ChunkedBody(MOST)
    chunked.feed(never)
    assert chunked.whole
    assert read([bytes(chunked.framed())])[0] is None


def test_a_counted_body_is_whole_at_its_length() -> None:
    counted = SizedBody(5)
    counted.feed(b"abc")
    assert (counted.whole, counted.missing) == (False, 2)
    counted.feed(b"de")
    assert (counted.whole, bytes(counted.framed())) == (True, b"abcde")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (b"", None),
        (b"Content-Length: 0\r\n", None),
        (b"content-length:  12 \r\n", Framing(length=12, expects=False)),
        (b"Content-Length: 12\r\nExpect: 100-Continue\r\n", Framing(length=12, expects=True)),
        (b"TRANSFER-ENCODING: Chunked\r\n", Framing(length=None, expects=False)),
        (b"X-Content-Length: 12\r\n", None),
        (b"Content-Length: 12\r\nContent-Length: 12\r\n", None),
        (b"Content-Length: 12\r\nTransfer-Encoding: chunked\r\n", None),
        (b"Transfer-Encoding: gzip, chunked\r\n", None),
        (b"Content-Length: +12\r\n", None),
    ],
)
def test_a_head_says_where_its_body_ends(lines: bytes, expected: Framing | None) -> None:
    assert framing(b"POST / HTTP/1.1\r\nHost: x\r\n" + lines + b"\r\n") == expected


@pytest.mark.parametrize(("version", "expects"), [(b"1.1", True), (b"1.0", False)])
@pytest.mark.parametrize("before", [b"", b"\r\n"])
def test_an_agent_of_http_1_0_waits_for_no_continue(version: bytes, expects: bool, before: bytes) -> None:
    lines = [b"POST /v1/batches HTTP/" + version, b"Content-Length: 2", b"Expect: 100-continue", b"", b""]
    assert framing(before + b"\r\n".join(lines)) == Framing(length=2, expects=expects)

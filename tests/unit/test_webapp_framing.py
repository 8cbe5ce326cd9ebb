"""Bodies that come in pieces are read as gunicorn's own parser reads them from a connection."""

from collections.abc import Sequence
from itertools import pairwise

import pytest
from gunicorn.config import Config  # type: ignore[import-untyped] # ships no types
from gunicorn.http.body import ChunkedReader  # type: ignore[import-untyped] # the same
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped] # the same
from gunicorn.http.message import Request  # type: ignore[import-untyped] # the same
from gunicorn.http.unreader import IterUnreader  # type: ignore[import-untyped] # the same
from hypothesis import given, strategies as st

from webapp import problems
from webapp.serving.framing import ChunkedBody, SizedBody, begin_body

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
    body = bytes(chunked.taken) if chunked.whole and chunked.cut is None else None
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
    assert len(chunked.taken) == MOST + 1
    assert chunked.cut is not None
    assert chunked.cut.kind is problems.BODY_TOO_LARGE


@pytest.mark.parametrize("never", [b"1" * 20_000, b"0\r\n" + b"X: 1\r\n" * 10_000, b"0;" + b"a" * 20_000])
def test_lines_that_do_not_end_are_given_up(never: bytes) -> None:
    chunked = ChunkedBody(MOST)
    chunked.feed(never)
    assert chunked.whole
    assert chunked.cut is not None
    assert chunked.cut.kind is problems.BODY_INCOMPLETE


def test_a_body_with_a_length_is_whole_at_its_length() -> None:
    sized = SizedBody(5)
    sized.feed(b"abc")
    assert not sized.whole
    sized.feed(b"deGET")
    assert (sized.whole, bytes(sized.taken), sized.behind) == (True, b"abcde", b"GET")


def test_a_body_that_nobody_wants_is_counted_and_not_kept() -> None:
    sized = SizedBody(5)
    sized.feed(b"abc")
    sized.drop()
    sized.feed(b"deGET")
    assert (sized.whole, sized.ended, sized.held_bytes, sized.behind) == (True, True, 0, b"GET")
    assert sized.cut is not None


def test_chunks_that_are_not_whole_count_what_is_not_read_yet() -> None:
    body, came = begin_body(None, b"5;" + b"a" * 1000, MOST)
    assert (body.held_bytes, len(came)) == (0, 1002)
    body.feed(came)
    assert (body.held_bytes, body.whole) == (1002, False)

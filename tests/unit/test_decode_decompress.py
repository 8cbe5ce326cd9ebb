"""Content encodings: all of them come out as they went in, and a bomb costs no more than the bound."""

import gzip
import random
import tracemalloc
import zlib
from collections.abc import Callable
from functools import partial

import brotli  # type: ignore[import-untyped]
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, strategies as st

from tasks.decoders import UnfitBatch, decompress

MIB = 1024 * 1024


def raw_deflate(data: bytes) -> bytes:
    deflate = zlib.compressobj(wbits=-15)
    return deflate.compress(data) + deflate.flush()


def zstd_of_unknown_size(data: bytes) -> bytes:
    stream = zstandard.ZstdCompressor().compressobj()
    return stream.compress(data) + stream.flush()


Pack = Callable[[bytes], bytes]
PACKS: dict[str, tuple[str, Pack]] = {
    "gzip": ("gzip", gzip.compress),
    "zlib": ("deflate", zlib.compress),
    "raw deflate": ("deflate", raw_deflate),
    "zstd": ("zstd", zstandard.compress),
    "zstd of unknown size": ("zstd", zstd_of_unknown_size),
    "br": ("br", partial(brotli.compress, quality=5)),
}
PACKED = pytest.mark.parametrize(("encoding", "pack"), PACKS.values(), ids=PACKS.keys())


def undone(
    body: bytes | memoryview, encoding: str, limit: int = 64 * MIB, ratio: int = 1_000, ratio_floor: int = MIB
) -> bytes:
    return decompress(body, encoding, limit=limit, ratio=ratio, ratio_floor=ratio_floor)


def refusal(body: bytes, encoding: str, limit: int = 64 * MIB, ratio: int = 1_000) -> str:
    with pytest.raises(UnfitBatch) as refused:
        undone(body, encoding, limit, ratio)
    return refused.value.reason


def refused_with(body: bytes, encoding: str) -> str | None:
    try:
        undone(body, encoding)
    except UnfitBatch as error:
        return error.reason
    return None


@PACKED
@given(data=st.binary(max_size=5_000))
def test_what_was_packed_comes_out(encoding: str, pack: Pack, data: bytes) -> None:
    assert undone(pack(data), encoding) == data
    assert undone(memoryview(data), "") == data


@PACKED
def test_more_than_one_piece_comes_out_whole(encoding: str, pack: Pack) -> None:
    data = random.Random(1).randbytes(4 * MIB) + b"end"
    assert undone(pack(data), encoding) == data


@pytest.mark.parametrize(("encoding", "pack"), [PACKS["gzip"], PACKS["zstd"]])
def test_several_members_or_frames_are_one_body(encoding: str, pack: Pack) -> None:
    assert undone(pack(b"one ") + pack(b"two"), encoding) == b"one two"


@PACKED
@given(cut=st.integers(min_value=1, max_value=60))
def test_a_body_that_was_cut_off_is_a_bad_encoding(encoding: str, pack: Pack, cut: int) -> None:
    packed = pack(bytes(range(256)))
    assert refusal(packed[: -min(cut, len(packed) - 1)], encoding) == "bad_encoding"


@PACKED
@given(data=st.binary(min_size=1, max_size=200))
def test_any_bytes_come_out_or_are_refused(encoding: str, pack: Pack, data: bytes) -> None:
    for body in (data, pack(b"good") + data, pack(data)[1:]):
        assert refused_with(body, encoding) in (None, "bad_encoding")


def streamed(body: bytes, codec: str) -> bytes | None:
    """What Arrow's decompressor makes of a body piece by piece, None if it refuses it."""
    try:
        with pa.CompressedInputStream(pa.BufferReader(body), codec) as stream:
            return bytes(stream.read())
    except OSError:
        return None


def outcome(body: bytes, encoding: str) -> bytes | None:
    try:
        return undone(body, encoding)
    except UnfitBatch:
        return None


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_body_that_is_undone_at_once_becomes_what_it_becomes_piece_by_piece(encoding: str) -> None:
    _, pack = PACKS[encoding]
    good = pack(b"GET /things/1 GET /things/2 \xc3\xa9" + bytes(range(64)))
    bodies = [good[:size] for size in range(len(good))]
    bodies += [
        good + b"\0",
        good + b"\0" * 8,
        good + good,
        good + good[:-1],
        b"\0" + good,
        pack(b""),
        pack(b"")[:-1],
        pack(b"") + good,
        pack(b"") + b"x",
        good * 3,
    ]
    for place in range(len(good)):
        for bit in range(8):
            bodies.append(good[:place] + bytes([good[place] ^ 1 << bit]) + good[place + 1 :])
    for body in bodies:
        assert outcome(body, encoding) == streamed(body, encoding)


@pytest.mark.parametrize("size", [0, 3, 5, 2**31, 2**32 - 1])
def test_a_size_that_lies_changes_nothing(size: int) -> None:
    body = gzip.compress(b"four")[:-4] + size.to_bytes(4, "little")
    assert outcome(body, "gzip") is streamed(body, "gzip") is None
    longer = gzip.compress(bytes(3_000))[:-4] + size.to_bytes(4, "little")
    assert refusal(longer, "gzip", limit=2_000) in ("bad_encoding", "too_large")


@PACKED
def test_bytes_behind_the_end_are_refused(encoding: str, pack: Pack) -> None:
    assert refusal(pack(b"good") + b"behind the end", encoding) == "bad_encoding"


def test_an_unknown_encoding_is_refused() -> None:
    assert refusal(b"", "compress") == "bad_encoding"


@PACKED
def test_decompressing_stops_at_the_limit(encoding: str, pack: Pack) -> None:
    data = random.Random(1).randbytes(4 * MIB)
    assert len(undone(pack(data), encoding, limit=len(data))) == len(data)
    assert refusal(pack(data), encoding, limit=len(data) - 1) == "too_large"
    assert refusal(data, "", limit=len(data) - 1) == "too_large"


@PACKED
def test_a_ratio_above_the_bound_is_refused_from_the_floor_on(encoding: str, pack: Pack) -> None:
    small, large = pack(bytes(MIB)), pack(bytes(3 * MIB))
    assert len(undone(small, encoding, ratio=10)) == MIB
    assert refusal(large, encoding, ratio=10) == "ratio_exceeded"


def held_bytes(body: bytes, encoding: str, limit: int) -> int:
    """The most that Arrow's pool held while a bomb was refused: all pieces are allocated there."""
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    assert refusal(body, encoding, limit, ratio=10**6) == "too_large"
    python = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return int(python + pa.total_allocated_bytes() - before)


@PACKED
def test_a_bomb_costs_no_more_than_the_bound(encoding: str, pack: Pack) -> None:
    bomb = pack(bytes(48 * MIB))
    assert held_bytes(bomb, encoding, 8 * MIB) < 16 * MIB

"""Content encodings, undone piece by piece so that a bomb costs no more than the bound."""

import zlib
from collections.abc import Iterator
from functools import partial
from typing import Final

import pyarrow as pa

from tasks.decoders.contract import UnfitBatch
from tasks.decoders.reasons import UnfitReason

PIECE: Final = 1024 * 1024  # bytes
CODECS: Final = {"gzip": "gzip", "zstd": "zstd", "br": "brotli"}
ENCODINGS: Final = ("", "gzip", "deflate", "zstd", "br")


def decompress(body: bytes | memoryview, encoding: str, *, limit: int, ratio: int, ratio_floor: int) -> bytes:
    """The bytes of `body` without its content encoding; several gzip members or zstd frames become one.

    Holds at most `limit` bytes, or `ratio` times the body where that passes `ratio_floor`, and a
    piece more. An empty body is empty.
    Raises `UnfitBatch`: bad_encoding, too_large, ratio_exceeded.
    """
    if encoding not in ENCODINGS:
        raise UnfitBatch(UnfitReason.BAD_ENCODING, f"content encoding {encoding[:64]!r} is not known")
    by_ratio = max(ratio_floor, ratio * len(body))
    if encoding == "":
        return _joined([bytes(body)], limit, by_ratio)
    try:
        pieces = _deflated(body) if encoding == "deflate" else _streamed(body, CODECS[encoding])
        return _joined(pieces, limit, by_ratio)
    except (OSError, zlib.error) as error:
        raise UnfitBatch(UnfitReason.BAD_ENCODING, f"not {encoding}: {error}") from None


def _joined(pieces: Iterator[bytes] | list[bytes], limit: int, by_ratio: int) -> bytes:
    kept: list[bytes] = []
    size = 0
    for piece in pieces:
        size += len(piece)
        if size > limit:
            raise UnfitBatch(UnfitReason.TOO_LARGE, f"decompresses to more than {limit} bytes")
        if size > by_ratio:
            raise UnfitBatch(UnfitReason.RATIO_EXCEEDED, f"decompresses to more than {by_ratio} bytes")
        kept.append(piece)
    return kept[0] if len(kept) == 1 else b"".join(kept)


def _streamed(body: bytes | memoryview, codec: str) -> Iterator[bytes]:
    with pa.CompressedInputStream(pa.BufferReader(body), codec) as stream:
        yield from iter(partial(stream.read, PIECE), b"")


def _deflated(body: bytes | memoryview) -> Iterator[bytes]:
    """RFC 9110 means the zlib format; agents that send raw deflate are older than it and many."""
    zlib_header = len(body) > 1 and body[0] & 15 == 8 and (body[0] * 256 + body[1]) % 31 == 0
    inflate = zlib.decompressobj(15 if zlib_header else -15)
    rest = bytes(body)
    while not inflate.eof:
        piece = inflate.decompress(rest, PIECE)
        rest = inflate.unconsumed_tail
        if not piece and not rest and not inflate.eof:
            raise zlib.error("truncated")
        yield piece
    if inflate.unused_data:
        raise zlib.error("more bytes after the end")

"""Content encodings, undone piece by piece so that a bomb costs no more than the bound."""

import zlib
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from typing import Final

import pyarrow as pa
import zstandard
from isal import isal_zlib
from isal.igzip_lib import IsalError

from tasks.decoders.contract import UnfitBatch
from tasks.decoders.reasons import UnfitReason

PIECE: Final = 1024 * 1024  # bytes
CODECS: Final = {"gzip": "gzip", "zstd": "zstd", "br": "brotli"}
GZIP_FORMAT: Final = 31  # zlib's wbits
PLAIN_HEADER: Final = b"\x1f\x8b\x08\0"  # of a gzip member: the format, deflate, no further fields
LENGTH_BYTES: Final = 4  # at the end of a gzip member: how many bytes it holds, modulo 2^32
ENCODINGS: Final = ("", "gzip", "deflate", "zstd", "br")


def decompress(
    body: bytes | memoryview,
    encoding: str,
    *,
    limit: int,
    ratio: int,
    ratio_floor: int,
    zstd: zstandard.ZstdDecompressor | None = None,
) -> bytes:
    """The bytes of `body` without its content encoding; several gzip members or zstd frames become one.

    Holds at most `limit` bytes, or `ratio` times the body where that passes `ratio_floor`, and a
    piece more. An empty body is empty. Who has many bodies gives a `zstd`: a new one costs as much as three
    bodies.
    Raises `UnfitBatch`: bad_encoding, too_large, ratio_exceeded.
    """
    if encoding not in ENCODINGS:
        raise UnfitBatch(UnfitReason.BAD_ENCODING, f"content encoding {encoding[:64]!r} is not known")
    by_ratio = max(ratio_floor, ratio * len(body))
    if encoding == "":
        return _joined([bytes(body)], limit, by_ratio)
    plain = _at_once(body, encoding, min(limit, by_ratio), zstd)
    if plain is not None:
        return plain
    try:
        pieces = _deflated(body) if encoding == "deflate" else _streamed(body, CODECS[encoding])
        return _joined(pieces, limit, by_ratio)
    except (OSError, zlib.error) as error:
        raise UnfitBatch(UnfitReason.BAD_ENCODING, f"not {encoding}: {error}") from None


def _at_once(
    body: bytes | memoryview, encoding: str, most: int, zstd: zstandard.ZstdDecompressor | None
) -> bytes | None:
    """What one gzip member or zstd frame holds that says it has at most so many bytes, and has.

    None for anything else: several of them, a broken one, more bytes than it said.
    """
    if encoding == "gzip" and body[: len(PLAIN_HEADER)] == PLAIN_HEADER:
        if int.from_bytes(body[-LENGTH_BYTES:], "little") > most:
            return None
        inflate = isal_zlib.decompressobj(GZIP_FORMAT)
        with suppress(IsalError):  # type: ignore[arg-type]  # the stub has an instance
            data: bytes = inflate.decompress(body, most + 1)
            return data if inflate.eof and not inflate.unused_data and len(data) <= most else None
    elif encoding == "zstd":
        with suppress(zstandard.ZstdError):
            if 0 < zstandard.frame_content_size(body) <= most:  # of 0 nothing more is looked at
                return (zstd or zstandard.ZstdDecompressor()).decompress(body, allow_extra_data=False)
    return None


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

"""A look at an Arrow IPC stream's messages before pyarrow unpacks them.

Buffers inside a record batch may be compressed; pyarrow then allocates whatever their headers claim. Buffers
may also overlap, and then all of them are checked byte by byte. The claims, and the numbers of rows, are read
here from the metadata (a flatbuffer) and refused when they pass the bounds. Sources: the Arrow columnar
format, "Serialization and Interprocess Communication", and Message.fbs.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import pyarrow as pa
import pyarrow.ipc

from tasks.decoders.arrow.flatbuffer import I64, U8, U32, at, follow, number
from tasks.decoders.contract import DecodeLimits, UnfitBatch
from tasks.decoders.reasons import UnfitReason

DICTIONARY, RECORDS = 2, 3  # Message.header_type
HEADER_TYPE, HEADER = 1, 2  # fields of Message
DICTIONARY_DATA: Final = 1  # field of DictionaryBatch
LENGTH, BUFFERS, COMPRESSION = 0, 2, 3  # fields of RecordBatch
NOT_COMPRESSED: Final = -1  # in place of a buffer's uncompressed length


def bound(data: bytes, limits: DecodeLimits) -> None:
    """Read the messages of a stream only as far as to know how much they unpack to.

    Raises `UnfitBatch`: malformed, too_large, too_many_events.
    """
    rows = size = 0
    try:
        source = pa.BufferReader(data)
        for message in pyarrow.ipc.MessageReader.open_stream(source):
            records = _records(message)
            if records is None:
                continue
            metadata, table = records
            rows += number(I64, metadata, table, LENGTH)
            if rows > limits.events or rows < 0:
                raise UnfitBatch(UnfitReason.TOO_MANY_EVENTS, f"more than {limits.events} rows")
            size += sum(claims(metadata, table, message.body))
            if size > limits.decompressed_bytes:
                raise UnfitBatch(
                    UnfitReason.TOO_LARGE, f"buffers of more than {limits.decompressed_bytes} bytes"
                )
        if source.tell() < len(data):  # a second stream, perhaps: its events must not be lost in silence
            raise UnfitBatch(
                UnfitReason.MALFORMED, f"{len(data) - source.tell()} bytes after the stream's end"
            )
    except (struct.error, pa.ArrowException, OSError, ValueError) as error:
        raise UnfitBatch(UnfitReason.MALFORMED, f"not an Arrow IPC stream: {error}"[:200]) from None


def _records(message: Any) -> tuple[Any, int] | None:
    """The metadata, and where in it the RecordBatch begins; None for messages that hold none."""
    metadata = memoryview(message.metadata)
    root = at(U32, metadata, 0)
    kind = number(U8, metadata, root, HEADER_TYPE)
    if kind not in (DICTIONARY, RECORDS):
        return None
    header = follow(metadata, root, HEADER)
    if header is not None and kind == DICTIONARY:
        header = follow(metadata, header, DICTIONARY_DATA)
    return None if header is None else (metadata, header)


def claims(metadata: Any, table: int, body: Any) -> Iterable[int]:
    """The uncompressed length of each buffer of the RecordBatch that begins at `table`, as its header says;
    thousands may claim the same bytes. Raises struct.error.
    """
    vector = follow(metadata, table, BUFFERS)
    if vector is None:
        return ()
    pairs = struct.unpack_from(f"<{2 * at(U32, metadata, vector)}q", metadata, vector + 4)
    if follow(metadata, table, COMPRESSION) is not None:
        return _unpacked(pairs, memoryview(body))
    lengths = pairs[1::2]
    return lengths if min(lengths, default=0) >= 0 else (2**63,)


def _unpacked(pairs: Sequence[int], content: Any) -> Iterator[int]:
    for start, length in zip(pairs[::2], pairs[1::2], strict=True):
        if length == 0:
            continue
        claim = at(I64, content, start)
        yield length if claim == NOT_COMPRESSED else claim if claim >= 0 else 2**63

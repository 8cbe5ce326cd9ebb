"""Arrow columns in PostgreSQL's binary forms: rows for COPY, and arrays that are parameters of a statement.

Each value is its length, an int32 that is -1 for null, and its bytes; numbers are big-endian, timestamps are
µs since 2000-01-01 UTC. COPY puts a header and the number of columns before it
(https://www.postgresql.org/docs/current/sql-copy.html, "Binary Format"); an array is what its server's
`array_recv` reads: dimensions, whether it has nulls, the elements' type, length and lower bound, the values.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from psycopg import adapters
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEAD = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_END = struct.pack(">h", -1)
_EPOCH_US = 946_684_800_000_000
# The server's own numbers of its types (pg_type.dat), with their names.
_SMALLINT, _INT, _BIGINT = (21, "smallint"), (23, "int"), (20, "bigint")
_TEXT, _BYTEA, _TIMESTAMPTZ = (25, "text"), (17, "bytea"), (1184, "timestamptz")


class Array(NamedTuple):
    """A parameter: a one-dimensional array of `element`, which the statement has to name."""

    element: str
    data: bytes


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Array) -> bytes:
        return obj.data


adapters.register_dumper(Array, _ArrayDumper)


def rows(columns: Sequence[pa.Array]) -> bytes:
    """The file for COPY … FROM STDIN (FORMAT binary); the table's types have to be those of the columns.

    int16/32/64 → smallint/int/bigint, timestamp(us) → timestamptz, string → text or json, binary of any
    width → bytea, and jsonb if it comes from `jsonb`.
    """
    fields = [part for column in columns for part in _field(column)]
    count = pa.scalar(struct.pack(">h", len(columns)), pa.binary())
    return b"".join((_HEAD, _joined(count, *fields), _END))


def array(column: pa.Array) -> Array:
    """The column as one parameter; of the types that `rows` takes, as text where the column has json."""
    number, name = _type(column.type)
    head = struct.pack(">iiIii", 1, int(column.null_count > 0), number, len(column), 1)
    return Array(name, b"".join((head, _joined(*_field(column)))))


def jsonb(texts: pa.Array) -> pa.Array:
    """JSON text in the form of a jsonb value: a version before the text."""
    return pc.binary_join_element_wise(pa.scalar(b"\1"), texts.cast(pa.binary()), pa.scalar(b""))


def _type(of: pa.DataType) -> tuple[int, str]:
    if pa.types.is_timestamp(of):
        return _TIMESTAMPTZ
    if pa.types.is_string(of):
        return _TEXT
    if pa.types.is_integer(of):
        return {16: _SMALLINT, 32: _INT, 64: _BIGINT}[of.bit_width]
    return _BYTEA


def _joined(*parts: pa.Array | pa.Scalar) -> memoryview:
    """What the parts hold, element by element."""
    joined = pc.binary_join_element_wise(*parts, pa.scalar(b"", pa.binary()))
    written = joined.buffers()[2]
    return memoryview(b"" if written is None else written)[: _end_of(joined)]


def _field(column: pa.Array) -> list[pa.Array]:
    """Pieces which, put one after the other, are the values of the column with their lengths."""
    if pa.types.is_timestamp(column.type):
        column = pc.subtract(column.cast(pa.timestamp("us")).cast(pa.int64()), _EPOCH_US)
    if pa.types.is_integer(column.type):
        width = column.type.bit_width // 8
        numbers = column.fill_null(0).to_numpy(zero_copy_only=False).astype(f">i{width}")
        if not column.null_count:
            values = np.empty(len(column), dtype=[("length", ">i4"), ("value", f">i{width}")])
            values["length"], values["value"] = width, numbers
            return [_fixed(values)]
        column = pc.if_else(column.is_valid(), _fixed(numbers), None)
    column = column.cast(pa.binary())
    lengths = pc.binary_length(column).fill_null(-1).to_numpy(zero_copy_only=False)
    return [_fixed(lengths.astype(">i4")), column.fill_null(b"")]


def _fixed(values: NDArray[np.generic]) -> pa.Array:
    width = values.dtype.itemsize
    fixed = pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(values), [None, pa.py_buffer(values)])
    return fixed.cast(pa.binary())


def _end_of(joined: pa.Array) -> int:
    offsets = np.frombuffer(joined.buffers()[1], dtype=np.int32)
    return int(offsets[joined.offset + len(joined)])

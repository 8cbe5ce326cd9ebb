"""Ids: bytes of a fixed width, also written in hexadecimal."""

import binascii
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

HEX: Final = "^[0-9a-fA-F]*$"
Mask = NDArray[np.bool_]


def binary_ids(values: Any, width: int) -> tuple[Any, Mask | None]:
    """Fixed-size binary of `width` bytes from a binary array; which values have another width (None: none).

    Empty values become null, as nulls do: that is how protobuf says that there is no id.
    """
    lengths = _lengths(values)
    null = lengths == 0
    wrong = ~null & (lengths != width)
    if null.any() or wrong.any():
        padded = pc.if_else(pa.array(null | wrong), b"\0" * width, values)
        ids = _fixed(padded, width)
        return pc.if_else(pa.array(null | wrong), None, ids), wrong if wrong.any() else None
    return _fixed(values, width), None


def hex_ids(values: Any, width: int) -> tuple[Any, Mask | None]:
    """As `binary_ids`, from a string array of hexadecimal digits, two a byte, of either case."""
    lengths = _lengths(values)
    null = lengths == 0
    wrong = ~null & (lengths != 2 * width)
    try:
        if null.any() or wrong.any():
            return _padded_hex(values, width, null, wrong)
        return _from_hex(values, width), None
    except binascii.Error:
        wrong |= ~null & ~pc.match_substring_regex(values, HEX).fill_null(True).to_numpy(zero_copy_only=False)
        return _padded_hex(values, width, null, wrong)


def _padded_hex(values: Any, width: int, null: Mask, wrong: Mask) -> tuple[Any, Mask | None]:
    missing = pa.array(null | wrong)
    ids = _from_hex(pc.if_else(missing, "00" * width, values), width)
    return pc.if_else(missing, None, ids), wrong if wrong.any() else None


def _lengths(values: Any) -> NDArray[np.int32]:
    lengths: NDArray[np.int32] = pc.binary_length(values).fill_null(0).to_numpy(zero_copy_only=False)
    return lengths


def _content(values: Any) -> memoryview:
    """The bytes of all values of a string or binary array, one after the other."""
    if len(values) == 0:
        return memoryview(b"")
    _, offsets, data = values.buffers()
    ends = np.frombuffer(offsets, np.int32)
    return memoryview(data)[ends[values.offset] : ends[values.offset + len(values)]]


def _fixed(values: Any, width: int) -> Any:
    data = pa.py_buffer(_content(values))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(values), [None, data])


def _from_hex(values: Any, width: int) -> Any:
    data = pa.py_buffer(binascii.unhexlify(_content(values)))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(values), [None, data])

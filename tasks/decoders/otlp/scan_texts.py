"""Columns of text from places in the bytes of a scan."""

import base64
import struct
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.decoders.otlp.protobuf_messages import AnyValue
from tasks.decoders.otlp.protobuf_pairs import text_of
from tasks.decoders.otlp.scan_tables import BOOL, BYTES, DOUBLE, INT, STRING

Numbers = NDArray[np.int32]
Places = NDArray[np.int64]
MOST_BYTES: Final = 2**31 - 1  # of a column's texts together


def copy(data: Any, starts: Any, offsets: Any, target: Any) -> None:
    """Copy text i, which begins at `starts[i]` of `data`, to `offsets[i]:offsets[i + 1]` of `target`."""
    for text in range(len(starts)):
        start, first = starts[text], offsets[text]
        for place in range(offsets[text + 1] - first):
            target[first + place] = data[start + place]


def strings(data: Any, starts: Numbers, sizes: Numbers, copy_: Callable[..., None]) -> pa.StringArray:
    """The texts, which were found to be UTF-8, at `starts`, each of so many bytes.

    Raises OverflowError for more than offsets of 32 bits can count: machine code checks no bounds.
    """
    if int(sizes.sum(dtype=np.int64)) > MOST_BYTES:
        raise OverflowError(f"texts of more than {MOST_BYTES} bytes")
    offsets = np.zeros(len(sizes) + 1, np.int32)
    np.cumsum(sizes, out=offsets[1:])
    target = np.empty(offsets[-1], np.uint8)
    copy_(data, np.ascontiguousarray(starts), offsets, target)
    return pa.StringArray.from_buffers(len(sizes), pa.py_buffer(offsets), pa.py_buffer(target))


def values(
    data: Any, types: Numbers, starts: Numbers, sizes: Numbers, copy_: Callable[..., None]
) -> pa.StringArray:
    """Values of attributes as text; of each its type (a field of AnyValue), where it is and how long."""
    texts = np.flatnonzero(types == STRING)
    if len(texts) == len(types):
        return strings(data, starts, sizes, copy_)
    ints, bools = np.flatnonzero(types == INT), np.flatnonzero(types == BOOL)
    rest = np.flatnonzero((types != STRING) & (types != INT) & (types != BOOL))
    content = np.frombuffer(data, np.uint8)
    truths = pa.array(content[starts[bools]] != 0)
    parts = [
        strings(data, starts[texts], sizes[texts], copy_),
        pa.array(_varints(content, starts[ints], sizes[ints])).cast(pa.string()),
        pc.if_else(truths, "true", "false"),
        _others(data, types[rest], starts[rest], sizes[rest]),
    ]
    order = np.empty(len(types), np.int64)
    order[np.concatenate((texts, ints, bools, rest))] = np.arange(len(types))
    return pa.concat_arrays(parts).take(pa.array(order))


def _varints(content: NDArray[np.uint8], starts: Numbers, sizes: Numbers) -> NDArray[np.int64]:
    made = np.zeros(len(starts), np.uint64)
    for byte in range(int(sizes.max(initial=0))):
        there = sizes > byte
        seven = content[starts[there] + byte].astype(np.uint64) & np.uint64(127)
        made[there] |= seven << np.uint64(7 * byte)
    return made.view(np.int64)


def _others(data: Any, types: Numbers, starts: Numbers, sizes: Numbers) -> pa.StringArray:
    """Each distinct one is read once."""
    known: dict[tuple[int, bytes], str] = {}
    made = []
    view = memoryview(data)
    for kind, start, size in zip(types.tolist(), starts.tolist(), sizes.tolist(), strict=True):
        raw = kind, bytes(view[start : start + size])
        if raw not in known:
            known[raw] = _text(*raw)
        made.append(known[raw])
    return pa.array(made, pa.string())


def _text(kind: int, raw: bytes) -> str:
    if kind == BYTES:
        return base64.b64encode(raw).decode()
    value = AnyValue(double_value=struct.unpack("<d", raw)[0]) if kind == DOUBLE else AnyValue.FromString(raw)
    return text_of(value)

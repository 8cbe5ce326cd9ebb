"""Arrow columns from numpy arrays, without a loop over rows."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Ints = npt.NDArray[np.int64]


def fixed_size_binary(
    values: npt.NDArray[np.void], width: int, *, valid: npt.NDArray[np.bool_] | None = None
) -> pa.Array:
    """One value of `width` bytes a row; null where `valid` is false."""
    bitmap = None if valid is None else pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    data = pa.py_buffer(np.ascontiguousarray(values))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), len(values), [bitmap, data])


def words(codes: Ints, vocabulary: Sequence[str]) -> pa.Array:
    """Plain strings, as an agent writes them."""
    coded = pa.DictionaryArray.from_arrays(
        pa.array(codes.astype(np.int32)), pa.array(vocabulary, pa.string())
    )
    return coded.dictionary_decode()


def map_of_strings(offsets: Ints, keys: pa.Array, values: pa.Array) -> pa.Array:
    """Row i holds the pairs offsets[i]:offsets[i + 1]."""
    return pa.MapArray.from_arrays(pa.array(offsets.astype(np.int32)), keys, values)

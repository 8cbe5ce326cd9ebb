"""How Arrow arrays lie in memory: in chunks, behind dictionaries and views, nested; and how else."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

WIDE: Final = pa.int32()  # numbers all words that a batch can have
WIDENING: Final = 4  # bytes for one
FEW: Final = 8  # so many times fewer are taken one by one


class Unfitting(Exception):
    """A column's type can't be made the one that is needed."""


def single(column: Any, most: int) -> Any:
    """A column's chunks as one array, extension types as what they store.

    Each chunk may have a dictionary of its own, and all of them more words than an index can number. Raises
    `Unfitting` when wider indices would take more than `most` bytes.
    """
    chunks = [chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk for chunk in column.chunks]
    if not chunks:
        kind = column.type.storage_type if isinstance(column.type, pa.BaseExtensionType) else column.type
        return pa.nulls(0, kind)
    if len(chunks) == 1:
        return chunks[0]
    try:
        return pa.concat_arrays(chunks)
    except pa.ArrowInvalid:
        bound(column.get_total_buffer_size() * WIDENING, most)  # `nbytes` follows offsets
        return pa.concat_arrays([widened(chunk) for chunk in chunks])


def plain(values: Any, most: int) -> Any:
    """The same values without dictionary or view, the offsets of 32 bits.

    Raises `Unfitting` when they would take more than `most` bytes that way.
    """
    kind = values.type
    if pa.types.is_dictionary(kind):
        words = plain(values.dictionary, most)
        if pa.types.is_string(words.type) or pa.types.is_binary(words.type):
            size = pc.sum(pc.binary_length(words).take(values.indices)).as_py() or 0
        elif pa.types.is_primitive(words.type) or pa.types.is_fixed_size_binary(words.type):
            size = len(values) * -(-int(words.type.bit_width) // 8)
        else:
            raise Unfitting(f"a dictionary of {words.type}")
        bound(size, most)
        return words.take(values.indices)
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        bound(looked_at(values), most)
        return values.cast(pa.string() if pa.types.is_string_view(kind) else pa.binary())
    if pa.types.is_large_string(kind):
        return values.cast(pa.string())
    if pa.types.is_large_binary(kind):
        return values.cast(pa.binary())
    return values


def looked_at(values: Any) -> int:
    """Bytes that all views in the array, or in what it is made of, look at together: each of many can look at
    the same megabyte. Follows no offsets, so that it can be asked before the array is validated.

    Raises `Unfitting` for arrays made of others in ways that no column has.
    """
    kind = values.type
    if isinstance(values, pa.ExtensionArray):
        return looked_at(values.storage)
    if pa.types.is_dictionary(kind):
        return looked_at(values.dictionary)
    if pa.types.is_struct(kind):
        return sum(looked_at(values.field(place)) for place in range(kind.num_fields))
    if pa.types.is_map(kind):
        return looked_at(values.keys) + looked_at(values.items)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return looked_at(values.values)
    if kind.num_fields or pa.types.is_run_end_encoded(kind):
        raise Unfitting(f"values of {kind}")
    if not len(values) or not (pa.types.is_string_view(kind) or pa.types.is_binary_view(kind)):
        return 0
    lengths = np.frombuffer(values.buffers()[1], np.int32)[values.offset * 4 :: 4][: len(values)]
    return int(np.maximum(lengths, 0).sum(dtype=np.int64))


def ends_of(values: Any) -> NDArray[np.integer[Any]]:
    """Where the entries of each row of lists or maps begin, and those of the last end.

    Offsets of an array without rows may have no byte; what pyarrow reads of them is somebody else's.
    """
    if len(values):
        return np.asarray(values.offsets)
    return np.zeros(1, np.int64 if pa.types.is_large_list(values.type) else np.int32)


def rebuilt(values: Any, leaf: Callable[[Any], Any]) -> Any:
    """The array with `leaf` of each array in it that is no struct, list or map."""
    kind = values.type
    if pa.types.is_struct(kind) and kind.num_fields:
        children = [rebuilt(child, leaf) for child in values.flatten()]  # null where the struct is
        fields = [one.with_type(child.type) for one, child in zip(kind, children, strict=True)]
        return pa.StructArray.from_arrays(children, fields=fields, mask=values.is_null())
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_map(kind)):
        return leaf(values)
    if pa.types.is_map(kind):
        ends = ends_of(values)
        offsets, size = pa.array(ends - ends[0]), ends[-1] - ends[0]
        keys, items = (rebuilt(half.slice(ends[0], size), leaf) for half in (values.keys, values.items))
        made = pa.map_(kind.key_field.with_type(keys.type), kind.item_field.with_type(items.type))
        return pa.MapArray.from_arrays(offsets, keys, items, type=made, mask=values.is_null())
    # Without the entries of rows that are null. `flatten` reads the offsets of no rows, too.
    inner = rebuilt(values.flatten() if len(values) else values.values[:0], leaf)
    ends = np.concatenate(([0], np.cumsum(pc.list_value_length(values).fill_null(0))))
    made = (pa.list_ if pa.types.is_list(kind) else pa.large_list)(kind.value_field.with_type(inner.type))
    offsets = pa.array(ends, pa.int32() if pa.types.is_list(kind) else pa.int64())
    return type(values).from_arrays(offsets, inner, type=made, mask=values.is_null())


def compact(values: Any, most: int) -> Any:
    """The same with only those words in dictionaries, and bytes behind views, that the array needs.

    Raises `Unfitting` when that takes more than `most` bytes.
    """
    return rebuilt(values, partial(_compact, most=most))


def widened(values: Any) -> Any:
    """The same with indices that can number the words of many dictionaries."""
    return rebuilt(values, _widened)


def _compact(values: Any, most: int) -> Any:
    kind = values.type
    if isinstance(values, pa.ExtensionArray):
        return values
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        return plain(values, most).cast(kind)
    if not pa.types.is_dictionary(kind):
        return values
    used = values.indices.unique().drop_null()
    indices = pc.index_in(values.indices, used).cast(kind.index_type)
    words = _some(values.dictionary, used, most)
    return pa.DictionaryArray.from_arrays(indices, words, ordered=kind.ordered)


def _some(words: Any, places: Any, most: int) -> Any:
    kind = words.type
    if not (pa.types.is_string_view(kind) or pa.types.is_binary_view(kind)):
        return words.take(places)
    if len(words) < FEW * len(places):  # no kernel takes of views
        return plain(words, most).take(places).cast(kind)
    chosen = [plain(words.slice(place, 1), most) for place in places.to_pylist()]
    return pa.concat_arrays(chosen).cast(kind) if chosen else words[:0]


def _widened(values: Any) -> Any:
    if not pa.types.is_dictionary(values.type):
        return values
    return pa.DictionaryArray.from_arrays(values.indices.cast(WIDE), values.dictionary)


def bound(size: int, most: int) -> None:
    """Raises `Unfitting` for more bytes than that."""
    if size > most:
        raise Unfitting(f"values of {size} bytes")

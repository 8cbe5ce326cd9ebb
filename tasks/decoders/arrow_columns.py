"""Columns of whatever type an agent's Arrow library makes, cast to those of EVENTS, within a bound."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.decoders import attributes as attribute_maps
from tasks.decoders.contract import DecodeLimits, UnfitBatch
from tasks.decoders.ids import Mask, binary_ids, hex_ids
from tasks.decoders.reasons import UnfitReason
from tasks.decoders.times import MICROSECONDS

INT64: Final = np.iinfo(np.int64)
PER_MICROSECOND: Final = {"s": 1_000_000, "ms": 1_000}
MAPS: Final = pa.map_(pa.string(), pa.string())
_object = msgspec.json.Decoder(dict[str, Any])


class Unfitting(Exception):
    """A column's type can't be made the one that is needed."""


def single(column: Any) -> Any:
    """A column's chunks as one array, extension types as what they store."""
    chunks = [chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk for chunk in column.chunks]
    if not chunks:
        kind = column.type.storage_type if isinstance(column.type, pa.BaseExtensionType) else column.type
        return pa.nulls(0, kind)
    return chunks[0] if len(chunks) == 1 else pa.concat_arrays(chunks)


def plain(values: Any, most: int) -> Any:
    """The same values without dictionary or view, the offsets of 32 bits.

    Raises `Unfitting` when they would take more than ``most`` bytes that way.
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
        _bound(size, most)
        return words.take(values.indices)
    if pa.types.is_string_view(kind) or pa.types.is_binary_view(kind):
        views = np.frombuffer(values.buffers()[1], np.int32)[values.offset * 4 :: 4][: len(values)]
        _bound(int(views.sum(dtype=np.int64)), most)
        return values.cast(pa.string() if pa.types.is_string_view(kind) else pa.binary())
    if pa.types.is_large_string(kind):
        return values.cast(pa.string())
    if pa.types.is_large_binary(kind):
        return values.cast(pa.binary())
    return values


def ids(values: Any, name: str, width: int) -> tuple[Any, Mask | None]:
    """`plain` bytes or hexadecimal text as fixed-size binary; which values are neither."""
    kind = values.type
    if kind == pa.binary(width):
        return values, None
    if pa.types.is_null(kind):
        return values.cast(pa.binary(width)), None
    if pa.types.is_fixed_size_binary(kind):
        values = values.cast(pa.binary())
    if pa.types.is_string(values.type):
        return hex_ids(values, width)
    if pa.types.is_binary(values.type):
        return binary_ids(values, width)
    raise Unfitting(f"{name} is {kind}")


def times(values: Any) -> Any:
    """Timestamps of any unit and zone (none = UTC), or microseconds since 1970; finer units are cut off."""
    kind = values.type
    if pa.types.is_timestamp(kind):
        numbers = values.view(pa.int64())
        if kind.unit == "ns":
            numbers = _floor_thousand(numbers)
        elif kind.unit in PER_MICROSECOND:
            numbers = _multiplied(numbers, PER_MICROSECOND[kind.unit])
        return numbers.cast(MICROSECONDS)
    if pa.types.is_integer(kind) and not pa.types.is_uint64(kind):
        return values.cast(pa.int64()).cast(MICROSECONDS)
    raise Unfitting(f"started_at is {kind}")


def integers(values: Any) -> Any:
    """Whole numbers of any width, or durations of any unit, as int64 microseconds."""
    kind = values.type
    if pa.types.is_duration(kind):
        numbers = values.view(pa.int64())
        if kind.unit == "ns":
            return _floor_thousand(numbers)
        return _multiplied(numbers, PER_MICROSECOND.get(kind.unit, 1))
    if pa.types.is_uint64(kind):
        return pc.min_element_wise(values, pa.scalar(INT64.max, pa.uint64()), skip_nulls=False).cast(
            pa.int64()
        )
    if pa.types.is_integer(kind):
        return values.cast(pa.int64())
    raise Unfitting(f"duration_us is {kind}")


def texts(values: Any, name: str, most: int) -> Any:
    """Strings of any layout, or bytes that are UTF-8."""
    values = plain(values, most)
    kind = values.type
    if pa.types.is_string(kind):
        return values
    if pa.types.is_binary(kind) or pa.types.is_null(kind):
        return values.cast(pa.string())
    raise Unfitting(f"{name} is {kind}")


def attributes(values: Any, most: int, limits: DecodeLimits) -> tuple[Any, Mask | None]:
    """Maps, lists of key and value, structs, or JSON objects as text; which texts are no objects.

    Raises `UnfitBatch`: too_many_values, before casting more of them than ``limits`` allow.
    """
    kind = values.type
    if kind == MAPS:
        return values, None
    if pa.types.is_map(kind):
        _bound_values(len(values.keys), limits)
        keys, items = _scalar_texts(values.keys, most), _scalar_texts(values.items, most)
        return attribute_maps.compacted(values, np.asarray(values.offsets), keys, items), None
    if _is_pairs(kind):
        _bound_values(len(values.values), limits)
        keys, items = (_scalar_texts(field, most) for field in values.values.flatten())
        if keys.null_count:
            raise Unfitting("attributes have a key that is null")
        return attribute_maps.compacted(
            values, np.asarray(values.offsets.cast(pa.int32())), keys, items
        ), None
    if pa.types.is_struct(kind):
        _bound_values(len(values) * kind.num_fields, limits)
        return _from_struct(values, most), None
    if pa.types.is_null(kind):
        return values.cast(MAPS), None
    words = texts(values, "attributes", most)
    _bound_values(sum(pc.sum(pc.count_substring(words, sign)).as_py() or 0 for sign in ",[{"), limits)
    return _from_json(words.to_pylist())


def _is_pairs(kind: Any) -> bool:
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return False
    return pa.types.is_struct(kind.value_type) and [field.name for field in kind.value_type] == [
        "key",
        "value",
    ]


def _from_struct(values: Any, most: int) -> Any:
    """A struct's field is an attribute of the field's name; null says that a row has none."""
    names = [field.name for field in values.type]
    columns = [_scalar_texts(column, most) for column in values.flatten()]
    if not columns:
        return attribute_maps.from_objects([None] * len(values))
    given = np.stack([attribute_maps.valid(column) for column in columns], axis=1)
    _bound(int(given.sum(axis=0) @ [len(name.encode()) for name in names]), most)
    rows, fields = given.nonzero()
    keys = pa.array(names, pa.string()).take(pa.array(fields))
    items = pa.concat_arrays(columns).take(pa.array(fields * len(values) + rows))
    return attribute_maps.from_parts(given.sum(axis=1).astype(np.int32), keys, items)


def _scalar_texts(values: Any, most: int) -> Any:
    values = plain(values, most)
    kind = values.type
    if pa.types.is_string(kind):
        return values
    if (
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    ):
        _bound(32 * len(values), most)
        return values.cast(pa.string())
    raise Unfitting(f"attributes hold {kind}")


def _from_json(lines: Sequence[str | None]) -> tuple[Any, Mask | None]:
    wrong = np.zeros(len(lines), np.bool_)
    objects: list[dict[str, Any] | None] = []
    for row, line in enumerate(lines):
        try:
            objects.append(_read_object(line) if line else None)
        except (msgspec.DecodeError, RecursionError):
            objects.append(None)
            wrong[row] = True
    return attribute_maps.from_objects(objects), wrong if wrong.any() else None


def _read_object(line: str) -> dict[str, Any]:
    made = _object.decode(line)
    if len(line) > attribute_maps.NESTING and attribute_maps.could_be_deep(line.encode()):
        for value in made.values():
            attribute_maps.bound_nesting(value)
    return made


def _floor_thousand(numbers: Any) -> Any:
    """Nanoseconds to microseconds, towards the past."""
    whole = np.asarray(numbers.fill_null(0)) // 1_000
    return pa.array(whole, mask=np.asarray(numbers.is_null()))


def _multiplied(numbers: Any, factor: int) -> Any:
    """Held at the ends of int64 where the product would wrap."""
    most = INT64.max // factor
    bounded = pc.max_element_wise(
        pc.min_element_wise(numbers, most, skip_nulls=False), -most, skip_nulls=False
    )
    return pc.multiply(bounded, factor)


def _bound(size: int, most: int) -> None:
    if size > most:
        raise Unfitting(f"values of {size} bytes")


def _bound_values(values: int, limits: DecodeLimits) -> None:
    """Fields and entries that hold nothing take no bytes as sent, and each its place when cast."""
    if values > limits.values:
        raise UnfitBatch(UnfitReason.TOO_MANY_VALUES, f"more than {limits.values} attributes")

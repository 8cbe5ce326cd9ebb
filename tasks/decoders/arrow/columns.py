"""Columns of whatever type an agent's Arrow library makes, cast to those of EVENTS, within a bound."""

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.decoders import attributes as attribute_maps
from tasks.decoders.arrow.layouts import Unfitting, bound, ends_of, plain
from tasks.decoders.contract import DecodeLimits, UnfitBatch
from tasks.decoders.ids import Mask, binary_ids, hex_ids
from tasks.decoders.reasons import UnfitReason
from tasks.decoders.times import MICROSECONDS

INT64: Final = np.iinfo(np.int64)
PER_MICROSECOND: Final = {"s": 1_000_000, "ms": 1_000}
MAPS: Final = pa.map_(pa.string(), pa.string())
_object = msgspec.json.Decoder(dict[str, Any])


NOT_UTF8: Final = "text that is not UTF-8"
NO_ATTRIBUTES: Final = "a key that is null, not a JSON object, or nested too deep"


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


def texts(values: Any, name: str, most: int) -> tuple[Any, Mask | None]:
    """Strings of any layout, or bytes that are UTF-8; which of them are not."""
    values = plain(values, most)
    kind = values.type
    if pa.types.is_string(kind):
        return values, None
    if pa.types.is_null(kind):
        return values.cast(pa.string()), None
    if pa.types.is_binary(kind):
        return utf8(values)
    raise Unfitting(f"{name} is {kind}")


def utf8(values: Any) -> tuple[Any, Mask | None]:
    """Bytes as strings, empty where they are no UTF-8; which they are."""
    try:
        return values.cast(pa.string()), None
    except pa.ArrowInvalid:
        wrong = np.fromiter(map(_no_utf8, values.to_pylist()), np.bool_, len(values))
    return pc.if_else(pa.array(wrong), b"", values).cast(pa.string()), wrong


def _no_utf8(value: bytes | None) -> bool:
    try:
        (value or b"").decode()
    except UnicodeDecodeError:
        return True
    return False


def bound_entries(column: Any, limits: DecodeLimits) -> None:
    """Raises `UnfitBatch`: too_many_values, for maps or lists to be cast with more entries than that."""
    kind = column.type
    if kind == MAPS:
        return
    if pa.types.is_map(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        bound_values(sum(len(chunk.values) for chunk in column.chunks), limits)


def attributes(values: Any, most: int, limits: DecodeLimits) -> tuple[Any, Mask | None]:
    """Maps, lists of key and value, structs, or JSON objects as text; which rows hold none of these.

    Those of maps and lists are bounded by `bound_entries`. Raises `UnfitBatch`: too_many_values, before
    casting more of the others than `limits` allow.
    """
    kind = values.type
    if kind == MAPS:
        return values, None
    if pa.types.is_map(kind):
        return _from_pairs(values, values.keys, values.items, most)
    if _is_pairs(kind):
        keys, items = values.values.flatten()
        return _from_pairs(values, keys, items, most)
    if pa.types.is_struct(kind):
        bound_values(len(values) * kind.num_fields, limits)
        return _from_struct(values, most), None
    if pa.types.is_null(kind):
        return values.cast(MAPS), None
    words, wrong = texts(values, "attributes", most)
    bound_values(json_values(words), limits)
    made, unread = _from_json(words.to_pylist())
    return made, attribute_maps.either([wrong, unread])


def _is_pairs(kind: Any) -> bool:
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return False
    return pa.types.is_struct(kind.value_type) and [field.name for field in kind.value_type] == [
        "key",
        "value",
    ]


def _from_pairs(values: Any, keys: Any, items: Any, most: int) -> tuple[Any, Mask | None]:
    """Maps of a map's, or a list's, keys and items; which of them have a key that is null."""
    keys, items = _scalar_texts(keys, most), _scalar_texts(items, most)
    offsets = np.asarray(pa.array(ends_of(values)).cast(pa.int32()))
    wrong = None
    if keys.null_count:
        wrong = attribute_maps.rows_of(~attribute_maps.valid(keys), offsets) & attribute_maps.valid(values)
        keys = keys.fill_null("")
    return attribute_maps.compacted(values, offsets, keys, items), wrong


def _from_struct(values: Any, most: int) -> Any:
    """A struct's field is an attribute of the field's name; null says that a row has none."""
    names = [field.name for field in values.type]
    columns = [_scalar_texts(column, most) for column in values.flatten()]
    if not columns:
        return attribute_maps.from_objects([None] * len(values))[0]
    given = np.stack([attribute_maps.valid(column) for column in columns], axis=1)
    bound(int(given.sum(axis=0) @ [len(name.encode()) for name in names]), most)
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
        bound(32 * len(values), most)
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
    return attribute_maps.from_objects(objects)[0], wrong if wrong.any() else None


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


def json_values(words: Any) -> int:
    """How many values JSON texts have at most, together."""
    return sum(pc.sum(pc.count_substring(words, sign)).as_py() or 0 for sign in ",[{")


def bound_values(values: int, limits: DecodeLimits) -> None:
    """Fields and entries that hold nothing take no bytes as sent, and each its place when cast.

    Raises `UnfitBatch`: too_many_values.
    """
    if values > limits.values:
        raise UnfitBatch(UnfitReason.TOO_MANY_VALUES, f"more than {limits.values} attributes")

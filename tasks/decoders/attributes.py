"""Attributes: maps of strings, from objects whose values are anything that JSON can say."""

from collections.abc import Mapping, Sequence
from itertools import chain, compress, count, repeat
from operator import is_not
from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

NONE: Final[Mapping[str, Any]] = {}
NESTING: Final = 100  # arrays and objects within each other
_encoder = msgspec.json.Encoder()


class TooDeep(RecursionError):
    """A value's arrays and objects lie deeper in each other than anybody's data do."""


def from_objects(objects: Sequence[Mapping[str, Any] | None]) -> tuple[Any, NDArray[np.int64]]:
    """map<string, string> of JSON objects: text as it is, else the JSON text; null says there is none. And
    which of the map's items (ascending) were no text.

    Raises RecursionError, mostly as `TooDeep`.
    """
    given = [one or NONE for one in objects]
    values = list(chain.from_iterable(one.values() for one in given))
    kinds = set(map(type, values))
    if type(None) in kinds:
        given = [{key: value for key, value in one.items() if value is not None} for one in given]
        values = list(chain.from_iterable(one.values() for one in given))
    not_text = map(is_not, map(type, values), repeat(str))
    typed = list(compress(count(), not_text)) if kinds - {str} else []
    for place in typed:
        values[place] = as_text(values[place])
    keys = pa.array(list(chain.from_iterable(given)), pa.string())
    counts = np.fromiter(map(len, given), np.int32, len(given))
    return from_parts(counts, keys, pa.array(values, pa.string())), np.array(typed, np.int64)


def from_parts(counts: NDArray[np.int32], keys: Any, values: Any) -> Any:
    """map<string, string> whose row `i` holds the next `counts[i]` of `keys` and `values`."""
    offsets = np.zeros(len(counts) + 1, np.int32)
    np.cumsum(counts, out=offsets[1:])
    return pa.MapArray.from_arrays(pa.array(offsets), keys, values)


def compact(attributes: Any) -> Any:
    """A map array without nulls: a null row has no attributes, an attribute that is null is none."""
    return compacted(attributes, np.asarray(attributes.offsets), attributes.keys, attributes.items)


def compacted(rows: Any, offsets: NDArray[np.int32], keys: Any, values: Any) -> Any:
    """map<string, string> of rows `offsets[i]:offsets[i + 1]` of keys and values, less what is null."""
    counts = np.where(valid(rows), np.diff(offsets), 0)
    row_of = np.repeat(np.arange(len(rows)), counts)
    entries = np.arange(len(row_of)) + (offsets[:-1] - (np.cumsum(counts) - counts))[row_of]
    given = valid(values)[entries]
    taken = pa.array(entries[given])
    kept = np.bincount(row_of[given], minlength=len(rows)).astype(np.int32)
    return from_parts(kept, keys.take(taken), values.take(taken))


def rows_of(entries: NDArray[np.bool_], offsets: NDArray[np.integer[Any]]) -> NDArray[np.bool_]:
    """Which rows `offsets[i]:offsets[i + 1]` hold a marked entry."""
    before = np.concatenate(([0], np.cumsum(entries)))
    return np.asarray(before[offsets[1:]] > before[offsets[:-1]])


def either(masks: Sequence[NDArray[np.bool_] | None]) -> NDArray[np.bool_] | None:
    """What any of the masks marks; None for nothing."""
    found = [mask for mask in masks if mask is not None]
    return np.logical_or.reduce(found) if found else None


def valid(values: Any) -> NDArray[np.bool_]:
    """Which values are not null."""
    return np.asarray(values.is_valid().to_numpy(zero_copy_only=False), np.bool_)


def as_text(value: Any) -> str:
    """The JSON text of `value`; a string is its own text. Raises RecursionError, mostly as `TooDeep`."""
    kind = type(value)
    if kind is int or kind is float:
        return repr(value)
    if kind is str:
        return str(value)
    text = _encoder.encode(value)
    if could_be_deep(text):
        bound_nesting(value)
    return text.decode()


def could_be_deep(text: bytes) -> bool:
    """Whether JSON text has enough brackets for `bound_nesting` to matter; a quick no."""
    return text.count(b"[") + text.count(b"{") > NESTING


def bound_nesting(value: Any) -> None:
    """Refuse what lies deeper than `NESTING`: msgspec and Python stop at a depth that depends on who calls.

    Raises `TooDeep`.
    """
    level = [value]
    for _ in range(NESTING + 1):
        level = [one for one in level if type(one) is dict or type(one) is list]
        if not level:
            return
        level = [inner for one in level for inner in (one.values() if type(one) is dict else one)]
    raise TooDeep(f"values nested deeper than {NESTING}")

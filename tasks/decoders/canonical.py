"""Values of OTLP's JSON in the one form in which they are kept, whatever form they came in.

64-bit integers are decimal text, doubles that are not finite are text, bytes are base64 of the standard
alphabet, a value has one field or none, and what is empty is left out.
"""

from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from tasks.decoders.attributes import NESTING
from tasks.decoders.json_numbers import LEAST, MOST, double, whole
from tasks.events import AnyValue, ArrayValue, KeyValue, KeyValueList

Text = Callable[[str], str]  # gives a text back, or raises what it is refused for
URL_SAFE: Final = str.maketrans("-_", "+/")  # ProtoJSON takes both alphabets, with padding or without


def pairs(given: Sequence[KeyValue] | None, text: Text, depth: int = 0) -> list[KeyValue]:
    """Attributes as OTLP's JSON writes them. What `text` raises for a text is raised, and ValueError for what
    is none of the spellings of OTLP's JSON, or nested deeper than NESTING.
    """
    return [pair(one, text, depth) for one in given or ()]


def pair(given: KeyValue, text: Text, depth: int = 0) -> KeyValue:
    """One attribute. Raises as `pairs` does."""
    return KeyValue(text(given.key or "") or None, _value(given.value, text, depth))


def _value(given: AnyValue | None, text: Text, depth: int) -> AnyValue | None:
    """Of several fields the one that becomes the attribute's text."""
    if depth > NESTING:
        raise ValueError(f"values nested deeper than {NESTING}")
    if given is None:
        return None
    if given.string_value is not None:
        return AnyValue(string_value=text(given.string_value))
    if given.int_value is not None:
        return AnyValue(int_value=str(whole(given.int_value, LEAST, MOST)))
    if given.double_value is not None:
        return AnyValue(double_value=double(given.double_value))
    if given.array_value is not None:
        values = given.array_value.values or ()
        return AnyValue(array_value=_array(_value(one, text, depth + 1) or AnyValue() for one in values))
    if given.kvlist_value is not None:
        inner = pairs(given.kvlist_value.values, text, depth + 1)
        return AnyValue(kvlist_value=KeyValueList(inner or None))
    if given.bytes_value is not None:
        return AnyValue(bytes_value=_base64(given.bytes_value, text))
    return AnyValue(bool_value=given.bool_value)


def pairs_of(given: Mapping[str, Any]) -> list[KeyValue]:
    """A plain JSON object as attributes; what is null is none."""
    return [KeyValue(key or None, value_of(one)) for key, one in given.items() if one is not None]


def value_of(given: Any) -> AnyValue:
    """A plain JSON value; an integer beyond 64 bits is its digits as text."""
    match given:
        case None:
            return AnyValue()
        case bool():
            return AnyValue(bool_value=given)
        case int() if LEAST <= given <= MOST:
            return AnyValue(int_value=str(given))
        case float():
            return AnyValue(double_value=given)
        case list():
            return AnyValue(array_value=_array(map(value_of, given)))
        case dict():
            inner = [KeyValue(key or None, value_of(one)) for key, one in given.items()]
            return AnyValue(kvlist_value=KeyValueList(inner or None))
    return AnyValue(string_value=str(given))


def _array(values: Iterable[AnyValue]) -> ArrayValue:
    return ArrayValue(list(values) or None)


def _base64(given: str, text: Text) -> str:
    """In the usual alphabet, padded; what is no base64 as it came."""
    plain = given.translate(URL_SAFE).rstrip("=")
    try:
        return b64encode(b64decode(plain + "=" * (-len(plain) % 4), validate=True)).decode()
    except ValueError:
        return text(given)

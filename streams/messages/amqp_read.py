"""Takes an AMQP 1.0 message apart: what amqp_write writes, and whatever another client may put around it.

Source: OASIS AMQP 1.0, part 1.6 (encodings: the high half of a constructor says how long a value is).
"""

import struct
from typing import Any, TypeVar

from streams.errors import UnfitMessage

T = TypeVar("T")

_PROPERTIES, _APPLICATION_PROPERTIES, _DATA = 0x73, 0x74, 0x75
# header, delivery annotations, message annotations, footer: allowed, and nothing in them is for us
_SKIPPED = frozenset((0x70, 0x71, 0x72, 0x78))

_U32 = struct.Struct(">I")
_CONSTANTS: dict[int, Any] = {0x40: None, 0x41: True, 0x42: False, 0x43: 0, 0x44: 0, 0x45: []}
_FIXED: dict[int, struct.Struct] = {
    code: struct.Struct(form)
    for codes, form in (
        ((0x50, 0x52, 0x53), ">B"),
        ((0x51, 0x54, 0x55), ">b"),
        ((0x56,), ">?"),
        ((0x60,), ">H"),
        ((0x61,), ">h"),
        ((0x70,), ">I"),
        ((0x71,), ">i"),
        ((0x72,), ">f"),
        ((0x80,), ">Q"),
        ((0x81, 0x83), ">q"),
        ((0x82,), ">d"),
    )
    for code in codes
}
# Widths of char, decimals and uuid, which are only stepped over.
_OPAQUE = {0x73: 4, 0x74: 4, 0x84: 8, 0x94: 16, 0x98: 16}
# Nested values deeper than this are nobody's properties.
_DEPTH = 16


class Sections:
    """`properties` by position, `application` by name, `data` as a slice of the message (a copy when it came
    in several sections).
    """

    __slots__ = ("application", "data", "properties")

    def __init__(self) -> None:
        self.properties: list[Any] = []
        self.application: dict[Any, Any] = {}
        self.data: memoryview = memoryview(b"")


def sections(message: bytes | memoryview) -> Sections:
    """Raises UnfitMessage when it is not an AMQP 1.0 message with a data section."""
    try:
        return _sections(memoryview(message))
    except UnfitMessage:
        raise
    except (IndexError, struct.error, ValueError, TypeError) as error:
        raise UnfitMessage(f"not an AMQP 1.0 message: {error}") from None


def _sections(view: memoryview) -> Sections:
    found = Sections()
    has_data = False
    position, end = 0, len(view)
    while position < end:
        kind, position = _descriptor(view, position)
        start, position = position, _end(view, position)
        if kind == _DATA:
            part = _binary(view, start, position)
            found.data = memoryview(bytes(found.data) + part) if has_data else part
            has_data = True
        elif kind == _PROPERTIES:
            found.properties = _expect(list, bytes(view[start:position]))
        elif kind == _APPLICATION_PROPERTIES:
            found.application = _expect(dict, bytes(view[start:position]))
        elif kind not in _SKIPPED:
            raise UnfitMessage(f"an AMQP 1.0 section of kind {kind!r} where properties or data are expected")
    if not has_data:
        raise UnfitMessage("an AMQP 1.0 message without a data section")
    return found


def _descriptor(view: memoryview, position: int) -> tuple[Any, int]:
    """What kind of section begins here."""
    if view[position] != 0:
        raise UnfitMessage("not an AMQP 1.0 message: no descriptor where a section should begin")
    if view[position + 1] == 0x53:
        return view[position + 2], position + 3
    # ulong with all its bytes, or a symbol, which is nobody's habit
    kind, width = _value(bytes(view[position + 1 : position + 64]), 0, 0)
    return kind, position + 1 + width


def _end(view: memoryview, position: int) -> int:
    """Where the list, map, array, string or binary that begins here ends."""
    code = view[position]
    if code < 0xA0:
        end = position + 1
    elif code & 0x10:
        end = position + 5 + _U32.unpack_from(view, position + 1)[0]
    else:
        end = position + 2 + view[position + 1]
    if end > len(view):
        raise UnfitMessage(f"not an AMQP 1.0 message: cut short by {end - len(view)} bytes")
    return end


def _binary(view: memoryview, start: int, end: int) -> memoryview:
    code = view[start]
    if code not in (0xA0, 0xB0):
        raise UnfitMessage("an AMQP 1.0 data section that holds no binary")
    return view[start + (5 if code == 0xB0 else 2) : end]


def _expect(kind: type[T], section: bytes) -> T:
    value, _ = _value(section, 0, 0)
    if not isinstance(value, kind):
        raise UnfitMessage(f"an AMQP 1.0 section that is no {kind.__name__}")
    return value


def _value(data: bytes, position: int, depth: int) -> tuple[Any, int]:
    """The value that begins at `position`, and the position after it."""
    code = data[position]
    position += 1
    if code == 0xA1:
        start = position + 1
        end = start + data[position]
        return _whole(data, start, end).decode(), end
    if code in _CONSTANTS:
        return _CONSTANTS[code], position
    if (fixed := _FIXED.get(code)) is not None:
        return fixed.unpack_from(data, position)[0], position + fixed.size
    if code >= 0xE0:
        length, start = _length(data, position, code >= 0xF0)
        return None, start + length  # arrays are stepped over
    if code >= 0xC0:
        return _compound(data, position, code, depth)
    if code >= 0xA0:
        return _variable(data, position, code)
    if code == 0x00 and depth < _DEPTH:
        _, position = _value(data, position, depth + 1)
        return _value(data, position, depth + 1)
    if code in _OPAQUE:
        return None, position + _OPAQUE[code]
    raise UnfitMessage(f"not an AMQP 1.0 message: no type has the constructor {code:#04x}")


def _whole(data: bytes, start: int, end: int) -> bytes:
    if end > len(data):
        raise UnfitMessage(f"not an AMQP 1.0 message: cut short by {end - len(data)} bytes")
    return data[start:end]


def _length(data: bytes, position: int, wide: bool) -> tuple[int, int]:
    if wide:
        return _U32.unpack_from(data, position)[0], position + 4
    return data[position], position + 1


def _variable(data: bytes, position: int, code: int) -> tuple[Any, int]:
    length, start = _length(data, position, code >= 0xB0)
    end = start + length
    value = _whole(data, start, end)
    low = code & 0xF
    if low == 0:
        return value, end
    if low == 1:
        return value.decode(), end
    if low == 3:
        return value.decode("ascii"), end
    raise UnfitMessage(f"not an AMQP 1.0 message: no type has the constructor {code:#04x}")


def _compound(data: bytes, position: int, code: int, depth: int) -> tuple[Any, int]:
    wide = code >= 0xD0
    if depth >= _DEPTH:
        raise UnfitMessage(f"an AMQP 1.0 message with values nested {depth} deep")
    length, start = _length(data, position, wide)
    end = start + length
    count, at = _length(data, start, wide)
    if count > length:
        raise UnfitMessage(f"not an AMQP 1.0 message: {count} values in {length} bytes")
    values: list[Any] = []
    for _ in range(count):
        # The three that fill our own messages, without a call; a string cut short is seen at the end.
        shape = data[at]
        if shape in (0xA1, 0xA3):
            head, at = at + 2, at + 2 + data[at + 1]
            values.append(data[head:at].decode())
        elif shape == 0x40:
            values.append(None)
            at += 1
        else:
            value, at = _value(data, at, depth + 1)
            values.append(value)
    if at != end:
        raise UnfitMessage(f"not an AMQP 1.0 message: a list of {length} bytes ends after {at - start}")
    if code & 0xF == 0:
        return values, end
    if code & 0xF == 1 and count % 2 == 0:
        return dict(zip(values[::2], values[1::2], strict=True)), end
    raise UnfitMessage(f"not an AMQP 1.0 message: no type has the constructor {code:#04x}")

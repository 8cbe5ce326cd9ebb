"""Keys and values of OTLP's attributes on protobuf's wire, for `tasks.decoders.otlp.scan`."""

from typing import Any

from tasks.decoders.otlp.scan_tables import (
    ANY,
    ARRAY,
    BOOL,
    BYTES,
    DEPTH,
    DICTIONARY,
    DOUBLE,
    INT,
    KEYS,
    KVLIST,
    MASK,
    MOST_KEYS,
    MOST_PROBES,
    NONE,
    PAIR,
    SCALAR_TEXT,
    SLOTS,
    STACK,
    STRING,
)


def counted(data: Any, at: int, end: int) -> tuple[int, int]:
    """Where a length-delimited field begins and ends, whose length is at `at`; (-1, -1) for none.

    A length has four bytes at most, so that it can't overflow.
    """
    if at >= end:
        return -1, -1
    size = data[at] + 0
    at += 1
    if size > 127:
        size -= 128
        shift = 7
        while True:
            if at >= end or shift > 21:
                return -1, -1
            byte = data[at] + 0
            at += 1
            size |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
    if size > end - at:
        return -1, -1
    return at, at + size


def passed_varint(data: Any, at: int, end: int) -> int:
    """The place behind a varint of five bytes at most; -1 for none."""
    for place in range(at, at + 5):
        if place >= end:
            break
        if data[place] < 128:
            return place + 1
    return -1


def word(data: Any, at: int) -> int:
    """Eight bytes, the lowest first, that have to be there."""
    made: int = (
        data[at] + 0
        | (data[at + 1] + 0) << 8
        | (data[at + 2] + 0) << 16
        | (data[at + 3] + 0) << 24
        | (data[at + 4] + 0) << 32
        | (data[at + 5] + 0) << 40
        | (data[at + 6] + 0) << 48
        | (data[at + 7] + 0) << 56
    )
    return made


def plain_text(data: Any, at: int, end: int) -> bool:
    """Whether it is UTF-8 without U+0000."""
    high = 0
    low = 255
    for place in range(at, end):
        high |= data[place]
        low = min(low, data[place])
    return low > 0 and (high < 128 or _utf8(data, at, end))


def _utf8(data: Any, at: int, end: int) -> bool:
    """The table of well-formed sequences in Unicode's chapter 3.9."""
    while at < end:
        byte = data[at]
        at += 1
        if byte < 0x80:
            continue
        if byte < 0xC2 or byte > 0xF4:
            return False
        more = 1 if byte < 0xE0 else 2 if byte < 0xF0 else 3
        if end - at < more:
            return False
        second = data[at]
        least = 0xA0 if byte == 0xE0 else 0x90 if byte == 0xF0 else 0x80
        most = 0x9F if byte == 0xED else 0x8F if byte == 0xF4 else 0xBF
        if second < least or second > most:
            return False
        for place in range(at + 1, at + more):
            if data[place] & 0xC0 != 0x80:
                return False
        at += more
    return True


def key_code(data: Any, at: int, end: int, work: Any) -> int:
    """The key's place in the dictionary; -1 if it isn't plain, or if it finds no room there."""
    size = end - at
    mark = (size * 0x9E3779B1) & 0x7FFFFFFF  # never above 31 bits, so that no product overflows
    place = at
    while place + 4 <= end:
        four = (
            data[place] + 0
            | (data[place + 1] + 0) << 8
            | (data[place + 2] + 0) << 16
            | (data[place + 3] & 127) << 24
        )
        mark = ((mark ^ four) * 0x2C1B3C6D) & 0x7FFFFFFF
        mark ^= mark >> 15
        place += 4
    while place < end:
        mark = ((mark ^ data[place]) * 0x2C1B3C6D) & 0x7FFFFFFF
        mark ^= mark >> 15
        place += 1
    mark = (mark * 0x297A2D39) & 0x7FFFFFFF
    mark ^= mark >> 15
    for probe in range(MOST_PROBES):
        slot: int = SLOTS + ((mark + probe) & MASK)
        code: int = work[slot] - 1
        if code < 0:
            if work[KEYS] == MOST_KEYS or not plain_text(data, at, end):
                return -1
            code = work[KEYS]
            work[DICTIONARY + 2 * code] = at
            work[DICTIONARY + 2 * code + 1] = size
            work[slot] = code + 1
            work[KEYS] += 1
            return code
        if work[DICTIONARY + 2 * code + 1] == size:
            known = work[DICTIONARY + 2 * code]
            differ = 0
            for offset in range(size):
                differ |= data[known + offset] ^ data[at + offset]
            if differ == 0:
                return code
    return -1


def filled(kind: int, size: int) -> bool:
    """Whether a value of this type, with so many bytes, is a text that is not empty."""
    return size > 0 or (kind != STRING and kind != BYTES)


def value_of(data: Any, at: int, end: int, work: Any) -> tuple[int, int, int]:
    """AnyValue with a value: its type, where what says it begins (it ends at `end`), the bytes of its text at
    most. That is the text, the varint, the double, the bytes, or for an array and a kvlist the whole message.

    The type is NONE for what isn't plain.
    """
    tag = data[at]
    if tag == 0x0A:
        start, stop = counted(data, at + 1, end)
        if start >= 0 and stop == end and plain_text(data, start, end):
            return STRING, start, end - start
    elif tag == 0x10:
        if end - at == 2 and data[at + 1] < 2:
            return BOOL, at + 1, SCALAR_TEXT
    elif tag == 0x18:
        if _varint_end(data, at + 1, end) == end:
            return INT, at + 1, SCALAR_TEXT
    elif tag == 0x21:
        if end - at == 9:
            return DOUBLE, at + 1, SCALAR_TEXT
    elif tag == 0x3A:
        start, stop = counted(data, at + 1, end)
        if start >= 0 and stop == end:
            return BYTES, start, (end - start + 2) // 3 * 4
    elif tag == 0x2A or tag == 0x32:
        start, stop = counted(data, at + 1, end)
        if start >= 0 and stop == end:
            kind = ARRAY if tag == 0x2A else KVLIST
            text = _nested_text(data, start, end, kind, work)
            if text >= 0:
                return kind, at, text
    return NONE, 0, 0


def _varint_end(data: Any, at: int, end: int) -> int:
    """The place behind a varint of 64 bits; -1 for none."""
    for place in range(at, at + 10):
        if place >= end:
            break
        if data[place] < 128:
            return place + 1 if place - at < 9 or data[place] < 2 else -1
    return -1


def _nested_text(data: Any, at: int, end: int, kind: int, work: Any) -> int:
    """The bytes at most of the JSON text of an ArrayValue or a KeyValueList; -1 for what isn't plain."""
    depth = 0
    work[STACK], work[STACK + 1] = kind, end
    text = 2
    while depth >= 0:
        kind, end = work[STACK + 2 * depth], work[STACK + 2 * depth + 1]
        if at == end:
            depth -= 1
            continue
        tag = data[at]
        if kind == ANY and (tag == 0x10 or tag == 0x18 or tag == 0x21):
            at = at + 9 if tag == 0x21 else _varint_end(data, at + 1, end)
            if at < 0 or at > end:
                return -1
            text += SCALAR_TEXT
            continue
        start, stop = counted(data, at + 1, end)
        if start < 0:
            return -1
        at = start
        inner = NONE
        if kind == ANY:
            if tag == 0x0A:
                inner = STRING
            elif tag == 0x2A:
                inner = ARRAY
            elif tag == 0x32:
                inner = KVLIST
            elif tag == 0x3A:
                inner = BYTES
        elif kind == PAIR:
            if tag == 0x0A:
                inner = STRING
            elif tag == 0x12:
                inner = ANY
        elif tag == 0x0A:
            inner = ANY if kind == ARRAY else PAIR
        if inner == NONE:
            return -1
        text += 8  # null, quotes, brackets, colon and comma
        if inner == STRING:
            if not plain_text(data, at, stop):
                return -1
            text += _escaped(data, at, stop)
            at = stop
        elif inner == BYTES:
            text += (stop - at + 2) // 3 * 4
            at = stop
        else:
            depth += 1
            if depth == DEPTH:
                return -1
            work[STACK + 2 * depth], work[STACK + 2 * depth + 1] = inner, stop
    return text


def _escaped(data: Any, at: int, end: int) -> int:
    """The bytes of a text in JSON, without its quotes."""
    size = end - at
    for place in range(at, end):
        byte = data[place]
        if byte < 0x20:
            size += 5
        elif byte == 0x22 or byte == 0x5C:
            size += 1
    return size

"""Spans and their attributes on protobuf's wire, as rows, for `tasks.decoders.otlp.scan`."""

from typing import Any

from tasks.decoders.otlp.scan_details import event, link, within
from tasks.decoders.otlp.scan_tables import (
    ALONE,
    AT,
    CODE,
    END_USER,
    ENTRIES,
    EXCEPTIONAL,
    EXPANDED,
    FIRST,
    FULL,
    FULL_TABLE,
    GROUP,
    GROUP_FIRST,
    GROUP_LAST,
    IDS,
    KEY,
    KIND,
    LAST,
    MESSAGE_AT,
    MESSAGE_SIZE,
    MOST_ATTRIBUTES,
    MOST_KEY_BYTES,
    MOST_VALUE_BYTES,
    NAME_AT,
    NAME_SIZE,
    NONE,
    OFFSETS,
    OK,
    RAW,
    SCOPE,
    SCOPES,
    SIZE,
    SPAN_AT,
    SPAN_SIZE,
    SPANS,
    TYPE,
    USER,
    USER_ENTRY,
)
from tasks.decoders.otlp.scan_values import (
    counted,
    filled,
    key_code,
    passed_varint,
    plain_text,
    value_of,
    word,
)


def span_row(
    data: Any,
    at: int,
    end: int,
    group: int,
    entries: Any,
    spans: Any,
    times: Any,
    ids: Any,
    groups: Any,
    work: Any,
    bounds: Any,
) -> int:
    row = work[SPANS]
    first = work[ENTRIES]
    spans[row, GROUP] = group
    spans[row, FIRST] = first
    spans[row, NAME_SIZE] = 0
    spans[row, MESSAGE_SIZE] = 0
    spans[row, KIND] = 0
    spans[row, CODE] = 0
    spans[row, SPAN_AT] = at
    spans[row, SPAN_SIZE] = end - at
    spans[row, SCOPE] = work[SCOPES]
    exceptional = events = links = own = 0
    present = 0
    times[row, 0] = 0
    times[row, 1] = 0
    seen = 0
    while at < end:
        tag = data[at]
        if tag == 0x4A:
            start, at = counted(data, at + 1, end)
            if start < 0:
                return ALONE
            state = attribute(data, start, at, entries, work, bounds)
            if state == OK and work[ENTRIES] - first > bounds[MOST_ATTRIBUTES]:
                return ALONE
            if state != OK:
                return state
            continue
        number = tag >> 3
        if seen >> number & 1 and number != 11 and number != 13:  # fields that come once: of two, the last
            return ALONE
        seen |= 1 << number
        if tag == 0x0A or tag == 0x12 or tag == 0x22:
            start, at = counted(data, at + 1, end)
            if start < 0:
                return ALONE
            width = 16 if tag == 0x0A else 8
            if at - start == width:
                place = 0 if tag == 0x0A else 16 if tag == 0x12 else 24
                for byte in range(width):
                    ids[row, place + byte] = data[start + byte]
                present |= number  # 1, 2 and 4, as the bits TRACE_ID, SPAN_ID and PARENT_ID
            elif at > start:
                return ALONE
        elif tag == 0x2A:
            start, at = counted(data, at + 1, end)
            if start < 0 or not plain_text(data, start, at):
                return ALONE
            spans[row, NAME_AT] = start
            spans[row, NAME_SIZE] = at - start
        elif tag == 0x39 or tag == 0x41:
            if end - at < 9:
                return ALONE
            times[row, number - 7] = word(data, at + 1)
            at += 9
        elif tag == 0x30:
            if end - at < 2 or data[at + 1] > 127:
                return ALONE
            spans[row, KIND] = data[at + 1]
            at += 2
        elif tag == 0x7A:
            start, at = counted(data, at + 1, end)
            if start < 0 or not _status(data, start, at, spans, row):
                return ALONE
        elif tag == 0x50 or tag == 0x60 or tag == 0x70:  # dropped attributes, events and links
            at = passed_varint(data, at + 1, end)
            if at < 0:
                return ALONE
        elif tag == 0x85:  # flags, field 16, a fixed32
            if end - at < 6 or data[at + 1] != 1:
                return ALONE
            at += 6
        elif tag == 0x1A or tag == 0x5A or tag == 0x6A:  # trace_state, events, links
            start, at = counted(data, at + 1, end)
            if start < 0:
                return ALONE
            own += at - start
            if tag == 0x5A:
                events += 1
                found = event(data, start, at, work)
                if found < 0:
                    return ALONE
                exceptional |= found
            elif tag == 0x6A:
                links += 1
                if not link(data, start, at, work):
                    return ALONE
            elif not plain_text(data, start, at):
                return ALONE
        else:
            return ALONE
    if not within(events, links, own, bounds):
        return ALONE
    spans[row, EXCEPTIONAL] = exceptional
    spans[row, IDS] = present
    spans[row, LAST] = work[ENTRIES]
    spans[row, USER_ENTRY] = _user(entries, groups, work, group, first)
    work[SPANS] += 1
    return OK


def _user(entries: Any, groups: Any, work: Any, group: int, first: int) -> int:
    """The entry that names the span's user: its own before its resource's, the last; -1 for none."""
    end_user = -1
    for part in range(2):
        start, end = first, work[ENTRIES]
        if part:
            start, end = groups[group, GROUP_FIRST], groups[group, GROUP_LAST]
        for entry in range(end - 1, start - 1, -1):
            key = entries[entry, KEY]
            if key > END_USER or key < USER or not filled(entries[entry, TYPE], entries[entry, SIZE]):
                continue
            if key == USER:
                return entry
            if end_user < 0:
                end_user = entry
    return end_user


def _status(data: Any, at: int, end: int, spans: Any, row: int) -> bool:
    seen = 0
    while at < end:
        tag = data[at]
        if tag == 0x12 and not seen & 1:
            start, at = counted(data, at + 1, end)
            if start < 0 or not plain_text(data, start, at):
                return False
            spans[row, MESSAGE_AT] = start
            spans[row, MESSAGE_SIZE] = at - start
            seen |= 1
        elif tag == 0x18 and not seen & 2 and end - at >= 2 and data[at + 1] < 128:
            spans[row, CODE] = data[at + 1]
            at += 2
            seen |= 2
        else:
            return False
    return True


def attribute(data: Any, at: int, end: int, entries: Any, work: Any, bounds: Any) -> int:
    """KeyValue: an entry, unless it has no value."""
    key_at = key_end = value_at = value_end = -1
    while at < end:
        tag = data[at]
        start, at = counted(data, at + 1, end)
        if start < 0:
            return ALONE
        if tag == 0x0A and key_at < 0:
            key_at, key_end = start, at
        elif tag == 0x12 and value_at < 0:
            value_at, value_end = start, at
        else:
            return ALONE
    if key_at < 0 or key_end - key_at > bounds[MOST_KEY_BYTES]:
        return ALONE
    work[RAW] += 1
    if value_at < 0 or value_at == value_end:
        return OK if plain_text(data, key_at, key_end) else ALONE
    if work[ENTRIES] == len(entries):
        work[FULL_TABLE] = ENTRIES
        return FULL
    kind, start, text = value_of(data, value_at, value_end, work)
    if kind == NONE or text > bounds[MOST_VALUE_BYTES]:
        return ALONE
    code = key_code(data, key_at, key_end, work)
    if code < 0:
        return ALONE
    entry = work[ENTRIES]
    entries[entry, KEY] = code
    entries[entry, TYPE] = kind
    entries[entry, AT] = start
    entries[entry, SIZE] = value_end - start
    work[ENTRIES] += 1
    work[EXPANDED] += key_end - key_at + text + OFFSETS
    return OK

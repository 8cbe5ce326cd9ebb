"""The bodies of a window's OTLP trace exports in protobuf, scanned into rows of numbers, without any object.

The functions are plain Python over arrays, and run as that; `tasks.decoders.kernels` compiles them. They read
https://protobuf.dev/programming-guides/encoding as opentelemetry/proto/trace/v1/trace.proto uses it, and
take only what is plain: what SDKs send, in the one spelling that they use. Any doubt is `ALONE`: the body is
left to the decoder that reads one batch.
"""

from typing import Any

from tasks.decoders.otlp.scan_spans import attribute, span_row
from tasks.decoders.otlp.scan_tables import (
    ALONE,
    AT,
    ENTRIES,
    EXPANDED,
    FIRST,
    FULL,
    FULL_TABLE,
    GROUP,
    GROUP_FIRST,
    GROUP_LAST,
    GROUPS,
    KEY,
    LAST,
    MOST_ATTRIBUTES,
    MOST_EVENTS,
    MOST_EXPANDED,
    MOST_VALUES,
    NONE,
    OK,
    RAW,
    SERVICE,
    SERVICE_AT,
    SERVICE_SIZE,
    SERVICE_TEXT,
    SERVICE_TYPE,
    SIZE,
    SPANS,
    TYPE,
)
from tasks.decoders.otlp.scan_values import counted, filled, passed_varint


def scan(
    data: Any,
    ends: Any,
    outcome: Any,
    first: int,
    entries: Any,
    spans: Any,
    times: Any,
    ids: Any,
    groups: Any,
    work: Any,
    bounds: Any,
) -> int:
    """Scan the bodies `ends[i]:ends[i + 1]` of `data` from the `first` on; how many were scanned.

    It stops before the first body that the tables have no room for. `outcome[i]` (int64, three numbers a
    body) becomes OK or ALONE, the number of its spans, the bytes that its attributes make as maps.
    """
    for body in range(first, len(ends) - 1):
        before, stored, lent = work[SPANS], work[ENTRIES], work[GROUPS]
        work[EXPANDED] = 0
        work[RAW] = 0
        state = _export(
            data, ends[body], ends[body + 1], before, entries, spans, times, ids, groups, work, bounds
        )
        if state != OK:
            work[SPANS] = before
            work[ENTRIES] = stored
            work[GROUPS] = lent
        if state == FULL:
            return body - first
        outcome[body, 0] = state
        outcome[body, 1] = work[SPANS] - before
        outcome[body, 2] = work[EXPANDED]
    return len(ends) - 1 - first


def _export(
    data: Any,
    at: int,
    end: int,
    first: int,
    entries: Any,
    spans: Any,
    times: Any,
    ids: Any,
    groups: Any,
    work: Any,
    bounds: Any,
) -> int:
    if at == end:
        return ALONE
    while at < end:
        if data[at] != 0x0A:
            return ALONE
        start, at = counted(data, at + 1, end)
        if start < 0:
            return ALONE
        state = _group(data, start, at, first, entries, spans, times, ids, groups, work, bounds)
        if state != OK:
            return state
    return OK


def _group(
    data: Any,
    at: int,
    end: int,
    first: int,
    entries: Any,
    spans: Any,
    times: Any,
    ids: Any,
    groups: Any,
    work: Any,
    bounds: Any,
) -> int:
    """ResourceSpans: the resource first, wherever it lies."""
    resource_at = resource_end = -1
    scopes = 0
    place = at
    while place < end:
        tag = data[place]
        start, place = counted(data, place + 1, end)
        if start < 0:
            return ALONE
        if tag == 0x0A and resource_at < 0:
            resource_at, resource_end = start, place
        elif tag == 0x12:
            scopes += 1
        elif tag != 0x1A:
            return ALONE
    group = work[GROUPS]
    if scopes == 0:
        return ALONE
    if group == len(groups):
        work[FULL_TABLE] = GROUPS
        return FULL
    expanded, raw = work[EXPANDED], work[RAW]
    groups[group, GROUP_FIRST] = work[ENTRIES]
    groups[group, SERVICE_TYPE] = NONE
    if resource_at >= 0:
        state = _resource(data, resource_at, resource_end, group, entries, groups, work, bounds)
        if state != OK:
            return state
    groups[group, GROUP_LAST] = work[ENTRIES]
    work[GROUPS] += 1
    lent_expanded, lent_raw = work[EXPANDED] - expanded, work[RAW] - raw
    place = at
    while place < end:
        tag = data[place]
        start, place = counted(data, place + 1, end)
        if tag == 0x12:
            state = _scope(
                data,
                start,
                place,
                group,
                lent_expanded,
                lent_raw,
                first,
                entries,
                spans,
                times,
                ids,
                groups,
                work,
                bounds,
            )
            if state != OK:
                return state
    return OK


def _resource(
    data: Any, at: int, end: int, group: int, entries: Any, groups: Any, work: Any, bounds: Any
) -> int:
    first = work[ENTRIES]
    while at < end:
        tag = data[at]
        if tag == 0x10:  # dropped_attributes_count
            at = passed_varint(data, at + 1, end)
            if at < 0:
                return ALONE
            continue
        start, at = counted(data, at + 1, end)
        if start < 0 or (tag != 0x0A and tag != 0x1A):  # entity_refs
            return ALONE
        if tag == 0x0A:
            state = attribute(data, start, at, entries, work, bounds)
            if (
                state == OK and work[ENTRIES] - first > bounds[MOST_ATTRIBUTES] + 1
            ):  # one may be the service's
                return ALONE
            if state != OK:
                return state
            last = work[ENTRIES] - 1
            if last >= first and entries[last, KEY] == SERVICE:
                if filled(entries[last, TYPE], entries[last, SIZE]):
                    groups[group, SERVICE_TYPE] = entries[last, TYPE]
                    groups[group, SERVICE_AT] = entries[last, AT]
                    groups[group, SERVICE_SIZE] = entries[last, SIZE]
                work[ENTRIES] = last
    return OK if work[ENTRIES] - first <= bounds[MOST_ATTRIBUTES] else ALONE


def _scope(
    data: Any,
    at: int,
    end: int,
    group: int,
    lent_expanded: int,
    lent_raw: int,
    first: int,
    entries: Any,
    spans: Any,
    times: Any,
    ids: Any,
    groups: Any,
    work: Any,
    bounds: Any,
) -> int:
    none = True
    while at < end:
        tag = data[at]
        start, at = counted(data, at + 1, end)
        if start < 0 or (tag != 0x12 and tag != 0x0A and tag != 0x1A):
            return ALONE
        if tag == 0x12:
            none = False
            if work[SPANS] == len(spans):
                work[FULL_TABLE] = SPANS
                return FULL
            work[EXPANDED] += lent_expanded + SERVICE_TEXT
            work[RAW] += lent_raw
            state = span_row(data, start, at, group, entries, spans, times, ids, groups, work, bounds)
            if state != OK:
                return state
            if (
                work[SPANS] - first > bounds[MOST_EVENTS]
                or work[EXPANDED] > bounds[MOST_EXPANDED]
                or work[RAW] > bounds[MOST_VALUES]
            ):
                return ALONE
    return ALONE if none else OK


def merged(rows: Any, spans: Any, groups: Any, entries: Any, marks: Any, counts: Any, found: Any) -> int:
    """The entries that the spans at `rows` have: of each key the last, the resource's before the span's own.

    They come into `found`, one row's after the other's, and into `counts` how many each row has; `marks` is
    room, as long as there are keys. Returns how many were found.
    """
    total = 0
    for place in range(len(rows)):
        row = rows[place]
        begin = total
        for part in range(2):
            first, last = spans[row, FIRST], spans[row, LAST]
            if part == 0:
                group = spans[row, GROUP]
                first, last = groups[group, GROUP_FIRST], groups[group, GROUP_LAST]
            for entry in range(first, last):
                found[total] = entry
                marks[entries[entry, KEY]] = total
                total += 1
        end = total
        total = begin
        for candidate in range(begin, end):
            entry = found[candidate]
            if marks[entries[entry, KEY]] == candidate:
                found[total] = entry
                total += 1
        counts[place] = total - begin
    return total

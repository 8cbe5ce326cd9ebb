"""The bodies of a window's OTLP trace exports in protobuf, scanned into rows of numbers, without any object.

The functions are plain Python over arrays, and run as that; `tasks.decoders.kernels` compiles them. They read
https://protobuf.dev/programming-guides/encoding as opentelemetry/proto/trace/v1/trace.proto uses it, and
take only what is plain: what SDKs send, in the one spelling that they use. Any doubt is `ALONE`: the body is
left to the decoder that reads one batch.
"""

from typing import Any

from tasks.decoders.otlp.scan_details import scope
from tasks.decoders.otlp.scan_spans import attribute, span_row
from tasks.decoders.otlp.scan_tables import (
    ALONE,
    AT,
    ENTRIES,
    EXPANDED,
    FULL,
    FULL_TABLE,
    GROUP_FIRST,
    GROUP_LAST,
    GROUP_URL_AT,
    GROUP_URL_SIZE,
    GROUPS,
    KEY,
    MOST_ATTRIBUTES,
    MOST_EVENTS,
    MOST_EXPANDED,
    MOST_SCOPE_BYTES,
    MOST_VALUES,
    NONE,
    OK,
    RAW,
    RESOURCE_AT,
    RESOURCE_SIZE,
    SCOPE_AT,
    SCOPE_COLUMNS,
    SCOPE_SIZE,
    SCOPE_URL_AT,
    SCOPE_URL_SIZE,
    SCOPES,
    SERVICE,
    SERVICE_AT,
    SERVICE_SIZE,
    SERVICE_TEXT,
    SERVICE_TYPE,
    SIZE,
    SPANS,
    TYPE,
)
from tasks.decoders.otlp.scan_values import counted, filled, passed_varint, plain_text


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
    scopes: Any,
    work: Any,
    bounds: Any,
) -> int:
    """Scan the bodies `ends[i]:ends[i + 1]` of `data` from the `first` on; how many were scanned.

    It stops before the first body that the tables have no room for. `outcome[i]` (int64, three numbers a
    body) becomes OK or ALONE, the number of its spans, the bytes that its attributes make as maps.
    """
    for body in range(first, len(ends) - 1):
        before, stored, lent, around = work[SPANS], work[ENTRIES], work[GROUPS], work[SCOPES]
        work[EXPANDED] = 0
        work[RAW] = 0
        state = _export(
            data, ends[body], ends[body + 1], before, entries, spans, times, ids, groups, scopes, work, bounds
        )
        if state != OK:
            work[SPANS] = before
            work[ENTRIES] = stored
            work[GROUPS] = lent
            work[SCOPES] = around
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
    scopes: Any,
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
        state = _group(data, start, at, first, entries, spans, times, ids, groups, scopes, work, bounds)
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
    scopes: Any,
    work: Any,
    bounds: Any,
) -> int:
    """ResourceSpans: the resource first, wherever it lies."""
    resource_at = resource_end = url_at = url_end = -1
    listed = 0
    place = at
    while place < end:
        tag = data[place]
        start, place = counted(data, place + 1, end)
        if start < 0:
            return ALONE
        if tag == 0x0A and resource_at < 0:
            resource_at, resource_end = start, place
        elif tag == 0x12:
            listed += 1
        elif tag == 0x1A and plain_text(data, start, place):
            url_at, url_end = start, place
        else:
            return ALONE
    group = work[GROUPS]
    if listed == 0:
        return ALONE
    if group == len(groups):
        work[FULL_TABLE] = GROUPS
        return FULL
    expanded, raw = work[EXPANDED], work[RAW]
    groups[group, GROUP_FIRST] = work[ENTRIES]
    groups[group, SERVICE_TYPE] = NONE
    groups[group, RESOURCE_AT] = resource_at
    groups[group, RESOURCE_SIZE] = resource_end - resource_at
    groups[group, GROUP_URL_AT] = url_at
    groups[group, GROUP_URL_SIZE] = url_end - url_at
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
                scopes,
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
    scopes: Any,
    work: Any,
    bounds: Any,
) -> int:
    before = work[SPANS]
    row = work[SCOPES]
    if row == len(scopes):
        work[FULL_TABLE] = SCOPES
        return FULL
    for column in range(SCOPE_COLUMNS):
        scopes[row, column] = 0
    while at < end:
        tag = data[at]
        start, at = counted(data, at + 1, end)
        if start < 0 or (tag != 0x12 and tag != 0x0A and tag != 0x1A):
            return ALONE
        if tag == 0x0A:
            if scopes[row, SCOPE_AT] or not scope(data, start, at, work):
                return ALONE
            scopes[row, SCOPE_AT] = start
            scopes[row, SCOPE_SIZE] = at - start
        if tag == 0x1A:
            if not plain_text(data, start, at):
                return ALONE
            scopes[row, SCOPE_URL_AT] = start
            scopes[row, SCOPE_URL_SIZE] = at - start
        if tag == 0x12:
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
    shared = scopes[row, SCOPE_SIZE] + scopes[row, SCOPE_URL_SIZE] + groups[group, GROUP_URL_SIZE]
    held = work[SPANS] - before
    work[EXPANDED] += shared * held
    work[SCOPES] += 1
    if held == 0 or shared > bounds[MOST_SCOPE_BYTES] or work[EXPANDED] > bounds[MOST_EXPANDED]:
        return ALONE
    return OK

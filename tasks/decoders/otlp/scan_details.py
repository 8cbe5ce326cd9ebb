"""Span events, links and scopes on protobuf's wire, whether all in them is plain: for the scan.

They are only looked at here. Whoever takes a span has its bytes parsed.
"""

from typing import Any, Final

from tasks.decoders.otlp.scan_tables import (
    ALONE,
    MOST_DETAILS,
    MOST_OWN_BYTES,
    NONE,
    RAW,
)
from tasks.decoders.otlp.scan_values import counted, passed_varint, plain_text, value_of, word

EXCEPTIO: Final = int.from_bytes(b"exceptio", "little")
N: Final = ord("n")


def within(events: int, links: int, size: int, bounds: Any) -> bool:
    """Whether a span may have so many span events and links, of so many bytes with its trace state."""
    most: int = bounds[MOST_DETAILS]
    most_bytes: int = bounds[MOST_OWN_BYTES]
    return events <= most and links <= most and size <= most_bytes


def event(data: Any, at: int, end: int, work: Any) -> int:
    """Span.Event: 1 for one that tells of an exception, 0 for another, or ALONE."""
    work[RAW] += 1
    exceptional = 0
    while at < end:
        tag = data[at]
        if tag == 0x09:  # time
            if end - at < 9:
                return ALONE
            at += 9
        elif tag == 0x20:  # dropped_attributes_count
            at = passed_varint(data, at + 1, end)
            if at < 0:
                return ALONE
        elif tag == 0x12 or tag == 0x1A:  # name, attributes
            start, at = counted(data, at + 1, end)
            if start < 0 or (tag == 0x12 and not plain_text(data, start, at)):
                return ALONE
            if tag == 0x12:
                exceptional = 1 if _exception(data, start, at) else 0
            elif not _pair(data, start, at, work):
                return ALONE
        else:
            return ALONE
    return exceptional


def link(data: Any, at: int, end: int, work: Any) -> bool:
    """Whether a Span.Link is plain."""
    work[RAW] += 1
    while at < end:
        tag = data[at]
        if tag == 0x28:  # dropped_attributes_count
            at = passed_varint(data, at + 1, end)
            if at < 0:
                return False
        elif tag == 0x35:  # flags
            if end - at < 5:
                return False
            at += 5
        elif tag == 0x0A or tag == 0x12 or tag == 0x1A or tag == 0x22:  # ids, trace_state, attributes
            start, at = counted(data, at + 1, end)
            if start < 0 or (tag == 0x1A and not plain_text(data, start, at)):
                return False
            if tag == 0x22 and not _pair(data, start, at, work):
                return False
        else:
            return False
    return True


def scope(data: Any, at: int, end: int, work: Any) -> bool:
    """Whether an InstrumentationScope is plain."""
    while at < end:
        tag = data[at]
        if tag == 0x20:  # dropped_attributes_count
            at = passed_varint(data, at + 1, end)
            if at < 0:
                return False
        elif tag == 0x0A or tag == 0x12 or tag == 0x1A:  # name, version, attributes
            start, at = counted(data, at + 1, end)
            if start < 0 or (tag != 0x1A and not plain_text(data, start, at)):
                return False
            if tag == 0x1A and not _pair(data, start, at, work):
                return False
        else:
            return False
    return True


def _pair(data: Any, at: int, end: int, work: Any) -> bool:
    """Whether a KeyValue is plain."""
    work[RAW] += 1
    while at < end:
        tag = data[at]
        start, at = counted(data, at + 1, end)
        if start < 0:
            return False
        if tag == 0x0A:
            if not plain_text(data, start, at):
                return False
        elif tag == 0x12:
            if start < at and value_of(data, start, at, work)[0] == NONE:
                return False
        else:
            return False
    return True


def _exception(data: Any, at: int, end: int) -> bool:
    """Whether a name is "exception"."""
    return end - at == 9 and word(data, at) == EXCEPTIO and data[end - 1] == N

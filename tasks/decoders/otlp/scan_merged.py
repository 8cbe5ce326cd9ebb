"""The attributes of spans that were scanned: which entries each has."""

from typing import Any

from tasks.decoders.otlp.scan_tables import FIRST, GROUP, GROUP_FIRST, GROUP_LAST, KEY, LAST


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

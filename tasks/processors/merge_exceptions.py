"""Partial counts of exceptions made one, as `tasks.processors.merge` does with other results."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from tasks.processors.groups import Groups, Integers
from tasks.processors.merge import MINUTE_US, integers, joined
from tasks.processors.names import Names
from tasks.processors.schemas import EXCEPTIONS, NO_EXCEPTIONS, TIMESTAMP
from tasks.processors.windows import Windows

EXAMPLE: Final = ("type", "message")


def merge_exceptions(tables: Sequence[pa.Table]) -> pa.Table:
    """One table of EXCEPTIONS with one row a minute × service × fingerprint, in this order."""
    table = joined(tables, NO_EXCEPTIONS)
    (merged,) = reduce_exceptions(
        Windows.of([len(table)]),
        minute_us=integers(table["minute"]),
        service=Names.of(table["service"]),
        fingerprint=Names.of(table["fingerprint"]),
        examples=table.select(EXAMPLE),
        count=integers(table["count"]),
        first=integers(table["first_seen"]),
        last=integers(table["last_seen"]),
        most=integers(table["most"]),
    )
    return merged


def reduce_exceptions(
    windows: Windows,
    *,
    minute_us: Integers,
    service: Names,
    fingerprint: Names,
    examples: pa.Table,
    count: Integers,
    first: Integers,
    last: Integers,
    most: Integers,
) -> list[pa.Table]:
    """Of each window the table of EXCEPTIONS that its rows, given by column, make. Times in µs since 1970."""
    if not len(minute_us):
        return [NO_EXCEPTIONS] * windows.count
    minute = (minute_us - minute_us.min()) // MINUTE_US
    groups = Groups.of(
        [
            (windows.of_row, windows.count),
            (minute, int(minute.max()) + 1),
            service.ranked(),
            fingerprint.ranked(),
        ]
    )
    rows = groups.any_row()
    merged = {
        "minute": pa.array(minute_us[rows]).cast(TIMESTAMP),
        "service": service.take(rows),
        "fingerprint": fingerprint.take(rows),
        **groups.smallest(examples, np.arange(len(examples)), EXAMPLE),
        "count": groups.sums(count),
        "first_seen": pa.array(groups.least(first)).cast(TIMESTAMP),
        "last_seen": pa.array(groups.most(last)).cast(TIMESTAMP),
        "most": groups.most(most),
    }
    return windows.take(rows).parts(pa.table(merged, schema=EXCEPTIONS))

"""A bound for the values of which results have rows: what agents say may never repeat."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from tasks.processors.groups import Groups, Integers
from tasks.processors.names import Names
from tasks.processors.windows import Windows

OTHER: Final = "other"
"""Stands for all values beyond the bound."""


def crowded_out(
    windows: Windows, minute_us: Integers, first: Names, second: Names, most: int
) -> NDArray[np.bool_]:
    """The rows whose pair of values is beyond the `most` ones of its window and minute.

    Those of the most rows come first, and of as many rows the smallest pair, byte by byte.
    """
    if not len(minute_us):
        return np.zeros(0, np.bool_)
    minutes = (minute_us - minute_us.min()) // 60_000_000
    of_minute = [(windows.of_row, windows.count), (minutes, int(minutes.max()) + 1)]
    pairs = Groups.of([*of_minute, first.ranked(), second.ranked()])
    if pairs.count <= most:
        return np.zeros(len(minute_us), np.bool_)
    minute = Groups.of(of_minute).codes[pairs.any_row()]
    size = np.bincount(pairs.codes)
    order = np.lexsort((-size, minute))  # stable: pairs are in the order of their values
    starts = np.searchsorted(minute[order], minute[order])
    place = np.empty(pairs.count, np.int64)
    place[order] = np.arange(pairs.count) - starts
    return np.asarray((place >= most)[pairs.codes])

"""Columns of details made run by run, so that of many events few are objects at the same time."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import pyarrow as pa

from tasks.events.attribute_source import Details, Integers
from tasks.events.details import detail_columns

RUN_BYTES: Final = 16 * 1024 * 1024  # of what the details of a run are made of, and one event more
LEAST_BYTES: Final = 256
"""As which an event counts at least: its objects take that much even if it says nothing."""


def in_runs(sizes: Integers, make: Callable[[Integers], Details], most_bytes: int) -> pa.Table:
    """A table of DETAILS of as many events as there are `sizes`, in bytes of what their details are made of;
    `make` gives the details of some rows of them.

    Raises `WindowTooLarge` as `detail_columns` does.
    """
    tables = []
    for rows in runs(sizes):
        tables.append(detail_columns(make(rows), most_bytes))
        most_bytes -= tables[-1].nbytes
    return pa.concat_tables(tables)


def runs(sizes: Integers) -> Sequence[Integers]:
    """All rows of so many bytes each, in order, in runs of about RUN_BYTES; one run for none."""
    counted = np.maximum(sizes, LEAST_BYTES)
    of_run = (np.cumsum(counted) - counted) // RUN_BYTES
    return np.split(np.arange(len(sizes)), np.flatnonzero(np.diff(of_run)) + 1)

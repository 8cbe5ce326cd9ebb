"""exceptions: what broke, since when and how often, by minute × service × fingerprint."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.steps import Exceptions
from tasks.processors.crowded import OTHER, crowded_out
from tasks.processors.found_exceptions import FoundExceptions
from tasks.processors.merge import MINUTE_US
from tasks.processors.merge_exceptions import reduce_exceptions
from tasks.processors.names import Names
from tasks.processors.rows import Rows
from tasks.processors.schemas import NO_EXCEPTIONS


def exceptions(rows: Rows, step: Exceptions, found: FoundExceptions) -> list[pa.Table]:
    """Of each window a table of EXCEPTIONS; its `count` adds up to the number of events with an exception.

    The minute is that of the event's start. `found` are the exceptions of the rows.
    """
    if not len(found.rows):
        return [NO_EXCEPTIONS] * rows.windows.count
    windows, service = rows.windows.take(found.rows), rows.service.at(found.rows)
    minute_us = rows.integers("started_at")[found.rows] // MINUTE_US * MINUTE_US
    fingerprint = Names.of(found.table["exception_fingerprint"])
    other = crowded_out(windows, minute_us, service, fingerprint, step.most)
    if other.any():
        service, fingerprint = service.but(other, OTHER), fingerprint.but(other, OTHER)
    example = {
        name: pc.if_else(pa.array(other), "", found.table[f"exception_{name}"])
        for name in ("type", "message")
    }
    at_us = found.table["exception_at"].cast(pa.int64()).to_numpy()
    return reduce_exceptions(
        windows,
        minute_us=minute_us,
        service=service,
        fingerprint=fingerprint,
        examples=pa.table(example),
        count=np.ones(len(found.rows), dtype=np.int64),
        first=at_us,
        last=at_us,
        most=np.full(len(found.rows), step.most),
    )

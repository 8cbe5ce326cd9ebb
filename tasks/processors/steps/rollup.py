"""rollup: how many, how long and how often failed, by minute × service × operation."""

import numpy as np
import pyarrow as pa

from tasks.processors.buckets import buckets
from tasks.processors.merge import MINUTE_US, reduce_rollups
from tasks.processors.rows import Rows


def rollup(rows: Rows) -> list[pa.Table]:
    """Of each window a table of ROLLUPS sorted by its key; its `count` adds up to the number of rows.

    The minute is that of the event's start.
    """
    durations = rows.integers("duration_us")
    return reduce_rollups(
        rows.windows,
        minute_us=rows.integers("started_at") // MINUTE_US * MINUTE_US,
        service=rows.service,
        operation=rows.operation,
        failed=rows.failed(),
        bucket=buckets(durations),
        count=np.ones(len(rows), dtype=np.int64),
        sums=durations,
        least=durations,
        most=durations,
    )

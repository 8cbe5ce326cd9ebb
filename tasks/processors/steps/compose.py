"""compose: what a window knows about each interaction, one row a trace."""

import numpy as np
import pyarrow as pa

from tasks.processors.found_exceptions import FoundExceptions
from tasks.processors.merge import ROOT, reduce_interactions
from tasks.processors.names import Names
from tasks.processors.rows import Rows


def compose(rows: Rows, exceptions: FoundExceptions) -> list[pa.Table]:
    """Of each window a table of INTERACTIONS sorted by trace id; its `events` add up to the number of rows.

    An interaction's root is its event without a parent. `exceptions` are those of the rows.
    """
    started = rows.integers("started_at")
    rooted = np.flatnonzero(rows.whole("parent_id").is_null().to_numpy(zero_copy_only=False))
    chosen = pa.array(rooted)
    roots = {
        "root_started_at": rows.whole("started_at").take(chosen),
        "root_event_id": rows.whole("event_id").take(chosen),
        "root_service": rows.service.take(rooted),
        "root_operation": rows.operation.take(rooted),
    }
    return reduce_interactions(
        rows.windows,
        trace_id=Names.of(rows.plain["trace_id"]),
        started=started,
        ended=started + rows.integers("duration_us"),
        events=np.ones(len(rows), dtype=np.int64),
        errors=rows.failed().astype(np.int64),
        user_id=rows.whole("user_id"),
        rooted=rooted,
        roots=pa.table({name: roots[name] for name in ROOT}),
        failing=exceptions.rows,
        exceptions=exceptions.table,
    )

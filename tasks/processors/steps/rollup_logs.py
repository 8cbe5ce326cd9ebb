"""rollup_logs: how many log records, by minute × service × severity."""

from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.events import SEVERITIES
from tasks.processors.merge import MINUTE_US
from tasks.processors.schemas import LOG_ROLLUPS, TIMESTAMP

WORDS: Final = pa.array(["unspecified", *SEVERITIES])
LEAST: Final = np.array([*SEVERITIES.values()])


def rollup_logs(logs: pa.Table) -> pa.Table:
    """A table of LOG_ROLLUPS sorted by its key; its `count` adds up to the number of records.

    The minute is that of `at`. Severities are the ranges of OpenTelemetry; without a number, `unspecified`.
    """
    minute_us = logs["at"].cast(pa.int64()).to_numpy() // MINUTE_US * MINUTE_US
    number = np.searchsorted(LEAST, logs["severity_number"].to_numpy(), side="right")
    table = pa.table(
        {
            "minute": pa.array(minute_us).cast(TIMESTAMP),
            "service": logs["service"],
            "severity": WORDS.take(pa.array(number)),
        }
    )
    counted = table.group_by(LOG_ROLLUPS.names[:-1]).aggregate([([], "count_all")])
    counted = counted.rename_columns({"count_all": "count"}).select(LOG_ROLLUPS.names).cast(LOG_ROLLUPS)
    return counted.take(pc.sort_indices(counted, [(name, "ascending") for name in LOG_ROLLUPS.names[:-1]]))

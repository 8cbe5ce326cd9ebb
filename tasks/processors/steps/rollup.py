"""rollup: how many, how long and how often failed, by minute × service × operation, and by what is asked."""

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.steps import Rollup
from tasks.processors.buckets import buckets
from tasks.processors.crowded import OTHER, crowded_out
from tasks.processors.merge import MINUTE_US, Split, reduce_rollups
from tasks.processors.names import Names
from tasks.processors.rows import Rows

SAID: Final = {
    "environment": ("deployment.environment.name", "deployment.environment"),
    "version": ("service.version",),
}
"""Of each column the attributes that say it, of which the first one counts that an event has."""
LONGEST: Final = 64  # characters: they are part of a key


def rollup(rows: Rows) -> list[pa.Table]:
    """Of each window a table of ROLLUPS sorted by its key; its `count` adds up to the number of rows.

    The minute is that of the event's start.
    """
    return reduce_rollups(rows.windows, **_columns(rows))


def split_rollup(rows: Rows, step: Rollup) -> list[pa.Table]:
    """The same as tables of SPLIT_ROLLUPS, by the columns that the step names."""
    columns = _columns(rows)
    environment, version = (
        _said(rows, *SAID[name]) if name in step.by else _said(rows) for name in ("environment", "version")
    )
    other = crowded_out(rows.windows, columns["minute_us"], environment, version, step.most)
    if other.any():
        environment, version = environment.but(other, OTHER), version.but(other, OTHER)
    split = Split(environment, version, np.full(len(rows), step.most))
    return reduce_rollups(rows.windows, **columns, split=split)


def _columns(rows: Rows) -> dict[str, Any]:
    durations = rows.integers("duration_us")
    return {
        "minute_us": rows.integers("started_at") // MINUTE_US * MINUTE_US,
        "service": rows.service,
        "operation": rows.operation,
        "failed": rows.failed(),
        "bucket": buckets(durations),
        "count": np.ones(len(rows), dtype=np.int64),
        "sums": durations,
        "least": durations,
        "most": durations,
    }


def _said(rows: Rows, *keys: str) -> Names:
    """What each event says under the first of these keys that it has, empty where it has none. Of a key that
    came twice the largest value counts.
    """
    codes, words = np.zeros(len(rows), np.int32), [pa.array([""])]
    for key in keys:
        silent = codes == 0
        owners, texts = rows.attributes.values_of(key, silent)
        if not len(owners):
            continue
        encoded = pc.utf8_slice_codeunits(pc.fill_null(texts, ""), 0, LONGEST).dictionary_encode()
        rank, _ = Names(encoded.indices.to_numpy(), encoded.dictionary).ranked()
        largest = np.zeros(len(rows), np.int64)
        np.maximum.at(largest, owners, rank + 1)
        before = sum(map(len, words))
        codes = np.where(silent & (largest > 0), before - 1 + largest, codes).astype(np.int32)
        words.append(encoded.dictionary.sort())
    return Names(codes, pa.array([""])).reworded(pa.concat_arrays(words))

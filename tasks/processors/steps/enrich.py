"""enrich: constant attributes for the events that a condition holds for."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.steps import Enrich
from tasks.processors.attributes import Entries, Mask
from tasks.processors.rows import Rows
from tasks.processors.steps.conditions import matching


def enrich(rows: Rows, step: Enrich) -> Rows:
    """The rows with the attributes set where the condition holds, replacing values under the same keys."""
    keys = pa.array(list(step.attributes), pa.string())
    values = pa.array(list(step.attributes.values()), pa.string())

    def add(entries: Entries, where: Mask) -> Entries:
        replaced = (
            pc.is_in(entries.keys, value_set=keys).to_numpy(zero_copy_only=False) & where[entries.owners()]
        )
        return _appended(entries.only(~replaced), keys, values, where)

    return replace(rows, attributes=rows.attributes.changed(add, matching(rows, step.where)))


def _appended(entries: Entries, keys: pa.Array, values: pa.Array, where: Mask) -> Entries:
    """The entries with the same new ones at the end of each event where the mask is true."""
    offsets = entries.offsets + np.concatenate(([0], np.cumsum(where))) * len(keys)
    source = np.empty(offsets[-1], dtype=np.int64)
    old = np.arange(len(entries.keys))
    source[old + (offsets - entries.offsets)[entries.owners()]] = old
    for number in range(len(keys)):
        source[offsets[1:][where] - len(keys) + number] = len(old) + number
    return Entries(
        offsets,
        pa.concat_arrays([entries.keys, keys]).take(pa.array(source)),
        pa.concat_arrays([entries.values, values]).take(pa.array(source)),
    )

"""Generated spans as arrays, before they become the table of a Parquet file."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]


@dataclass(slots=True, kw_only=True)
class GeneratedSpans:
    """Columns while they are made; one element a span, traces whole and one after another."""

    trace: Ints  # index of the trace
    parent: Ints  # row of the parent, -1 for a root
    service: Ints  # index in `topology.SERVICES`
    operation: Ints  # index in `operations`
    operations: list[str]
    start_us: Ints  # since the epoch
    duration_us: Ints
    error: npt.NDArray[np.bool_]

"""sample: a share of the traces, chosen by their id alone, so that every window chooses the same.

OpenTelemetry's consistent probability sampling
(https://opentelemetry.io/docs/specs/otel/trace/tracestate-probability-sampling/): the low 56 bits of
the trace id are the trace's random number R; it is in when R >= T, with T = 2^56 - round(p * 2^56).
"""

import numpy as np
from numpy.typing import NDArray

from pipelines.steps import Sample
from tasks.processors.rows import Rows
from tasks.processors.steps.conditions import matching

RANDOM_BITS = 56


def sample(rows: Rows, step: Sample) -> Rows:
    """The rows that the condition does not hold for, and of the others those of the chosen traces."""
    return rows.only(~matching(rows, step.where) | chosen(rows, step.percent))


def chosen(rows: Rows, percent: float) -> NDArray[np.bool_]:
    """Of each row whether its trace is among this share of all traces."""
    return randomness(rows) >= np.uint64(threshold(percent))


def threshold(percent: float) -> int:
    """T: 0 takes every trace, 2^56 none."""
    return int(2**RANDOM_BITS - round(percent / 100 * 2**RANDOM_BITS))


def randomness(rows: Rows) -> NDArray[np.uint64]:
    """R of each row."""
    trace_ids = rows.whole("trace_id")
    low = (
        np.frombuffer(trace_ids.buffers()[1], dtype=">u8")[1::2]
        if len(trace_ids)
        else np.empty(0, dtype=">u8")
    )
    halves = low[trace_ids.offset : trace_ids.offset + len(trace_ids)]
    return halves.astype(np.uint64) & np.uint64(2**RANDOM_BITS - 1)

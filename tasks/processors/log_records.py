"""A pipeline's outputs of the log records of a window. Its other steps are about events, but for redact."""

from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.steps import Compose, KeepLogs, Pipeline, Redact, RollupLogs
from tasks.events import ERROR, NO_LOGS
from tasks.processors.merge import merge_interactions
from tasks.processors.pipeline import Processed
from tasks.processors.schemas import INTERACTIONS, NO_LOG_ROLLUPS
from tasks.processors.steps.keep_logs import keep_logs
from tasks.processors.steps.redact_logs import redact_logs
from tasks.processors.steps.rollup_logs import rollup_logs


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessedLogs:
    """What a window's log records leave: a table of INTERACTIONS, None when nothing is composed, one of
    LOG_ROLLUPS, and the records to keep, of `tasks.events.LOGS`.
    """

    interactions: pa.Table | None
    rollups: pa.Table
    logs: pa.Table


def process_logs(logs: pa.Table, pipeline: Pipeline) -> ProcessedLogs:
    """The outcome of valid log records (of `tasks.events.LOGS`); an output that the pipeline lacks is empty.

    What is kept is redacted, by all steps of that kind; what is kept is decided before.
    """
    rollups, kept = NO_LOG_ROLLUPS, NO_LOGS
    for step in pipeline.steps:
        if isinstance(step, RollupLogs):
            rollups = rollup_logs(logs)
        elif isinstance(step, KeepLogs):
            kept = keep_logs(logs, step)
    for step in pipeline.steps:
        if isinstance(step, Redact):
            kept = redact_logs(kept, step)
    composes = any(isinstance(step, Compose) for step in pipeline.steps)
    return ProcessedLogs(interactions=_of_traces(logs) if composes else None, rollups=rollups, logs=kept)


def with_logs(processed: Processed, logs: ProcessedLogs) -> Processed:
    """The interactions of a window's events together with those of its log records."""
    if logs.interactions is None:
        return processed
    both = merge_interactions([processed.interactions, logs.interactions])
    return replace(processed, interactions=both)


def _of_traces(logs: pa.Table) -> pa.Table:
    """What each record that has a trace says of its interaction."""
    traced = logs.filter(pc.is_valid(logs["trace_id"]))
    none, one = np.zeros(len(traced), np.int64), np.ones(len(traced), np.int64)
    columns = {
        "trace_id": traced["trace_id"],
        "started_at": traced["at"],
        "ended_at": traced["at"],
        "events": none,
        "errors": none,
        "logs": one,
        "log_errors": pc.greater_equal(traced["severity_number"], ERROR).cast(pa.int64()),
    }
    columns |= {
        field.name: pa.nulls(len(traced), field.type) for field in INTERACTIONS if field.name not in columns
    }
    return pa.table([columns[name] for name in INTERACTIONS.names], schema=INTERACTIONS)

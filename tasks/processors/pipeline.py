"""A pipeline run over the events of a window, or of several at once."""

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from pipelines.steps import (
    AnyStep,
    Compose,
    Drop,
    Enrich,
    Exceptions,
    Keep,
    KeepLogs,
    LogOutput,
    Normalise,
    Output,
    Pipeline,
    Redact,
    Rename,
    Rollup,
    RollupLogs,
    Sample,
)
from tasks.events import MOST_BYTES, NO_WHOLE, EventTable
from tasks.processors.found_exceptions import FoundExceptions
from tasks.processors.rows import Rows
from tasks.processors.schemas import NO_EXCEPTIONS, NO_INTERACTIONS, NO_ROLLUPS, NO_SPLIT_ROLLUPS
from tasks.processors.steps.compose import compose
from tasks.processors.steps.drop import drop
from tasks.processors.steps.enrich import enrich
from tasks.processors.steps.exceptions import exceptions
from tasks.processors.steps.keep import keep
from tasks.processors.steps.normalise import normalise
from tasks.processors.steps.redact import redact
from tasks.processors.steps.rename import rename
from tasks.processors.steps.rollup import rollup, split_rollup
from tasks.processors.steps.sample import sample


@dataclass(frozen=True, slots=True, kw_only=True)
class Processed:
    """What a window leaves: tables of INTERACTIONS, ROLLUPS, SPLIT_ROLLUPS, EXCEPTIONS
    and WHOLE.

    Events in = kept + dropped.
    """

    interactions: pa.Table
    rollups: pa.Table
    split_rollups: pa.Table
    exceptions: pa.Table
    events: pa.Table
    kept: int
    dropped: dict[str, int]  # by rule, rules that dropped nothing included


def process(events: EventTable, pipeline: Pipeline) -> Processed:
    """The outcome of valid events; an output that the pipeline lacks is an empty table."""
    (outcome,) = process_windows([events], pipeline)
    return outcome


def process_windows(
    windows: Sequence[EventTable], pipeline: Pipeline, most_bytes: int = MOST_BYTES
) -> list[Processed]:
    """What `process` makes of each window, of one or more: a small one costs less together with others.

    No event may be in two of them. Raises `WindowTooLarge` when the details of what is kept take more than
    `most_bytes` as columns.
    """
    rows = Rows.of(windows)
    dropped: dict[str, list[int]] = {}
    outputs: dict[type[Output], list[pa.Table]] = {}
    found: FoundExceptions | None = None
    split: list[pa.Table] = []
    for step in pipeline.steps:
        if isinstance(step, LogOutput):
            continue
        if isinstance(step, Output):
            found = found or _found(rows, pipeline)
            outputs[type(step)] = _output(rows, step, found, most_bytes)
            if isinstance(step, Rollup) and step.by:
                split = split_rollup(rows, step)
            continue
        before, rows = rows.windows, _changed(rows, step)
        if isinstance(step, Drop | Sample):
            dropped[step.rule] = (before.sizes() - rows.windows.sizes()).tolist()
    return [
        Processed(
            interactions=outputs[Compose][window] if Compose in outputs else NO_INTERACTIONS,
            rollups=outputs[Rollup][window] if Rollup in outputs else NO_ROLLUPS,
            split_rollups=split[window] if split else NO_SPLIT_ROLLUPS,
            exceptions=outputs[Exceptions][window] if Exceptions in outputs else NO_EXCEPTIONS,
            events=outputs[Keep][window] if Keep in outputs else NO_WHOLE,
            kept=kept,
            dropped={rule: events[window] for rule, events in dropped.items()},
        )
        for window, kept in enumerate(rows.windows.sizes().tolist())
    ]


def _changed(rows: Rows, step: AnyStep) -> Rows:
    match step:
        case Drop():
            return drop(rows, step)
        case Sample():
            return sample(rows, step)
        case Redact():
            return redact(rows, step)
        case Rename():
            return rename(rows, step)
        case Enrich():
            return enrich(rows, step)
        case Normalise():
            return normalise(rows)
        case Compose() | Rollup() | Exceptions() | Keep() | RollupLogs() | KeepLogs():
            return rows


def _found(rows: Rows, pipeline: Pipeline) -> FoundExceptions:
    asked = any(isinstance(step, Compose | Exceptions) for step in pipeline.steps)
    return FoundExceptions.of(rows) if asked else FoundExceptions.none()


def _output(rows: Rows, step: Output, found: FoundExceptions, most_bytes: int) -> list[pa.Table]:
    match step:
        case Compose():
            return compose(rows, found)
        case Exceptions():
            return exceptions(rows, step, found)
        case Rollup():
            return rollup(rows)
        case Keep():
            return keep(rows, step, most_bytes)

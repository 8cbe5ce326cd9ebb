"""Pure processing: a table of events and a pipeline in, tables of results out. No IO, no clock, no state."""

from tasks.processors.log_records import process_logs, with_logs
from tasks.processors.merge import merge_interactions, merge_rollups, merge_split_rollups
from tasks.processors.merge_exceptions import merge_exceptions
from tasks.processors.pipeline import Processed, process, process_windows
from tasks.processors.schemas import (
    EXCEPTIONS,
    INTERACTIONS,
    NO_EXCEPTIONS,
    NO_SPLIT_ROLLUPS,
    ROLLUPS,
    SPLIT_ROLLUPS,
)

__all__ = [
    "EXCEPTIONS",
    "INTERACTIONS",
    "NO_EXCEPTIONS",
    "NO_SPLIT_ROLLUPS",
    "ROLLUPS",
    "SPLIT_ROLLUPS",
    "Processed",
    "merge_exceptions",
    "merge_interactions",
    "merge_rollups",
    "merge_split_rollups",
    "process",
    "process_logs",
    "process_windows",
    "with_logs",
]

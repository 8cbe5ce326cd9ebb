"""Pure processing: a table of events and a pipeline in, tables of results out. No IO, no clock, no state."""

from tasks.processors.merge import merge_interactions, merge_rollups
from tasks.processors.pipeline import Processed, process, process_windows
from tasks.processors.schemas import INTERACTIONS, ROLLUPS

__all__ = [
    "INTERACTIONS",
    "ROLLUPS",
    "Processed",
    "merge_interactions",
    "merge_rollups",
    "process",
    "process_windows",
]

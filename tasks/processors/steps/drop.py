"""drop: events that nobody wants leave, and are counted."""

from pipelines.steps import Drop
from tasks.processors.rows import Rows
from tasks.processors.steps.conditions import matching


def drop(rows: Rows, step: Drop) -> Rows:
    """The rows that the condition does not hold for."""
    return rows.only(~matching(rows, step.where))

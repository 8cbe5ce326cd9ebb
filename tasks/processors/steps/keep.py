"""keep: the few events that are worth a row of their own."""

import pyarrow as pa

from pipelines.steps import Keep
from tasks.processors.rows import Rows
from tasks.processors.steps.sample import chosen


def keep(rows: Rows, step: Keep) -> pa.Table:
    """A table of EVENTS: those that failed, took longer than the step says, or are of a chosen trace."""
    mask = chosen(rows, step.percent)
    if step.errors:
        mask |= rows.failed()
    if step.slower_than_us is not None:
        mask |= rows.integers("duration_us") > step.slower_than_us
    return rows.only(mask).events()

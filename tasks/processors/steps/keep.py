"""keep: the few events that are worth a row of their own."""

import pyarrow as pa

from pipelines.steps import Keep
from tasks.processors.rows import Rows
from tasks.processors.steps.sample import chosen


def keep(rows: Rows, step: Keep, most_bytes: int) -> list[pa.Table]:
    """Of each window a table of WHOLE: those that failed, took too long, or are of a chosen trace.

    Raises `WindowTooLarge` when the JSON of all their details takes more than `most_bytes`.
    """
    mask = chosen(rows, step.percent)
    if step.errors:
        mask |= rows.failed()
    if step.slower_than_us is not None:
        mask |= rows.integers("duration_us") > step.slower_than_us
    kept = rows.only(mask)
    return kept.windows.parts(kept.events(most_bytes))

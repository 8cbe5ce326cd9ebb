"""redact: secrets that slipped into attributes."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.steps import Redact
from tasks.processors.answers import matching as words_matching
from tasks.processors.attributes import Entries, Mask, with_key
from tasks.processors.rows import Rows

REDACTED = "[redacted]"


def redact(rows: Rows, step: Redact) -> Rows:
    """The rows with the value of each secret attribute replaced."""

    def hide(entries: Entries, _: Mask) -> Entries:
        secret = pc.match_substring_regex(entries.values, pattern=step.values)
        mask: Mask = pc.fill_null(secret, False).to_numpy(zero_copy_only=False).copy()
        mask[with_key(entries, lambda keys: words_matching(keys, step.keys))] = True
        if not mask.any():
            return entries
        return Entries(entries.offsets, entries.keys, pc.if_else(pa.array(mask), REDACTED, entries.values))

    return Rows(
        rows.plain,
        rows.service,
        rows.operation,
        rows.attributes.changed(hide, np.ones(len(rows), dtype=np.bool_)),
    )

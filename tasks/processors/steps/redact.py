"""redact: secrets that slipped into attributes."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.steps import Redact
from tasks.processors.answers import matching as words_matching
from tasks.processors.attributes import Entries, Found, Mask, with_key
from tasks.processors.rows import Rows

REDACTED = "[redacted]"


def redact(rows: Rows, step: Redact) -> Rows:
    """The rows with the value of each secret attribute replaced."""
    all_rows = np.ones(len(rows), dtype=np.bool_)
    return replace(rows, attributes=rows.attributes.changed(Redaction(step), all_rows))


@dataclass(frozen=True, slots=True)
class Redaction:
    """What redact does to attributes."""

    step: Redact

    def entries(self, entries: Entries, where: Mask) -> Entries:
        """As `Change.entries`."""
        mask = self._secret(entries.values)
        mask[with_key(entries, lambda keys: words_matching(keys, self.step.keys))] = True
        if not mask.any():
            return entries
        return replace(entries, values=_hidden(entries.values, mask))

    def values(self, key: str, where: Mask, among: Mask, before: Callable[[str], Found]) -> Found:
        """As `Change.values`."""
        owner, values = before(key)
        mask = self._secret(values)
        if words_matching(pa.array([key]), self.step.keys)[0].as_py():
            mask[:] = True
        return owner, _hidden(values, mask)

    def _secret(self, values: pa.StringArray) -> Mask:
        secret = pc.match_substring_regex(values, pattern=self.step.values)
        return np.array(pc.fill_null(secret, False).to_numpy(zero_copy_only=False))


def _hidden(values: pa.StringArray, mask: Mask) -> pa.StringArray:
    return pc.if_else(pa.array(mask), REDACTED, values)

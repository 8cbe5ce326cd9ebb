"""redact, of log records: secrets in their bodies and in all attributes, their resource's and scope's too."""

from typing import Any, Final

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.steps import Redact
from tasks.events import runs
from tasks.processors.answers import matching
from tasks.processors.steps.redact import REDACTED

DOCUMENTS: Final = ("body", "attributes", "scope", "resource")
Document = dict[str, Any]


def redact_logs(logs: pa.Table, step: Redact) -> pa.Table:
    """The records (of `tasks.events.LOGS`) with each secret replaced, in whatever it lies: a value under a
    key that matches becomes a text, of any other value the texts that match.
    """
    if not len(logs):
        return logs
    for name in DOCUMENTS:
        place = logs.schema.get_field_index(name)
        logs = logs.set_column(place, logs.schema.field(name), _redacted(logs[name], step))
    return logs


def _redacted(column: pa.ChunkedArray, step: Redact) -> pa.Array:
    encoded = column.combine_chunks().dictionary_encode()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.combine_chunks()
    sizes = np.asarray(pc.binary_length(encoded.dictionary)).astype(np.int64)
    texts = [_changed(encoded.dictionary.take(pa.array(rows)), step) for rows in runs(sizes)]
    return pa.concat_arrays(texts).take(encoded.indices)


def _changed(texts: pa.StringArray, step: Redact) -> pa.StringArray:
    documents = [msgspec.json.decode(text) for text in texts.to_pylist()]
    values = _Values()
    for document in documents:
        values.collect(document)
    values.redact(step)
    return pa.array([msgspec.json.encode(document) for document in documents], pa.string())


class _Values:
    """The key-value pairs and the texts in documents, to be changed in place."""

    def __init__(self) -> None:
        self._pairs: list[Document] = []
        self._texts: list[Document] = []

    def collect(self, part: Any) -> None:
        """Of a document, or of a part of it."""
        if isinstance(part, list):
            for each in part:
                self.collect(each)
        elif isinstance(part, dict):
            if "key" in part:
                self._pairs.append(part)
            if "stringValue" in part:
                self._texts.append(part)
            for each in part.values():
                self.collect(each)

    def redact(self, step: Redact) -> None:
        """Replace what is secret."""
        for text in _matching(self._texts, "stringValue", step.values, remembered=False):
            text["stringValue"] = REDACTED
        for pair in _matching(self._pairs, "key", step.keys, remembered=True):
            pair["value"] = {"stringValue": REDACTED}


def _matching(parts: list[Document], name: str, pattern: str, *, remembered: bool) -> list[Document]:
    words = pa.array([part[name] for part in parts], pa.string())
    found = matching(words, pattern) if remembered else pc.match_substring_regex(words, pattern=pattern)
    return [parts[place] for place in np.flatnonzero(found.to_numpy(zero_copy_only=False)).tolist()]

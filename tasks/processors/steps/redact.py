"""redact: secrets that slipped into attributes."""

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.steps import Redact
from tasks.events import AnyValue, ArrayValue, KeyValue, KeyValueList
from tasks.processors.answers import matching as words_matching
from tasks.processors.attributes import Details, Entries, Found, Mask, with_key
from tasks.processors.details import FoundPairs, value_text, with_pairs
from tasks.processors.rows import Rows

REDACTED = "[redacted]"
SAID = AnyValue(string_value=REDACTED)


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

    def details(self, details: Details) -> Details:
        """As `Change.details`: at any depth, a pair whose key is secret, and a value that is."""
        found = FoundPairs.of(details)
        keys = pa.array([pair.key or "" for pair in found.pairs], pa.string()).dictionary_encode()
        named = words_matching(keys.dictionary, self.step.keys).to_numpy(zero_copy_only=False)[keys.indices]
        secret = self._secret(pa.array([value_text(value) for value in found.values], pa.string()))
        if not named.any() and not secret.any():
            return details
        hidden = {*map(id, compress(found.pairs, named)), *map(id, compress(found.values, secret))}
        around = {*map(id, compress(found.of_pairs, named)), *map(id, compress(found.of_values, secret))}

        def change(pairs: Sequence[KeyValue]) -> Sequence[KeyValue]:
            return pairs if around.isdisjoint(map(id, pairs)) else _hidden_pairs(hidden, pairs)

        return with_pairs(details, change)

    def _secret(self, values: pa.StringArray) -> Mask:
        secret = pc.match_substring_regex(values, pattern=self.step.values)
        return np.array(pc.fill_null(secret, False).to_numpy(zero_copy_only=False))


def _hidden(values: pa.StringArray, mask: Mask) -> pa.StringArray:
    return pc.if_else(pa.array(mask), REDACTED, values)


def _hidden_pairs(hidden: Set[int], pairs: Sequence[KeyValue]) -> list[KeyValue]:
    """The pairs less what is hidden: ids of pairs and of values, at any depth."""
    return [
        KeyValue(pair.key, SAID if id(pair) in hidden else _hidden_value(hidden, pair.value))
        for pair in pairs
    ]


def _hidden_value(hidden: Set[int], value: AnyValue | None) -> AnyValue | None:
    if value is None:
        return None
    if id(value) in hidden:
        return SAID
    if value.array_value is not None:
        values = [_hidden_value(hidden, one) or AnyValue() for one in value.array_value.values or ()]
        return AnyValue(array_value=ArrayValue(values))
    if value.kvlist_value is not None:
        return AnyValue(kvlist_value=KeyValueList(_hidden_pairs(hidden, value.kvlist_value.values or ())))
    return value

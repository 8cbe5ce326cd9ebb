"""enrich: constant attributes for the events that a condition holds for."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from msgspec.structs import replace as replaced

from pipelines.steps import Enrich
from tasks.events import AnyValue, KeyValue, SpanDetails
from tasks.processors.attributes import Details, Entries, Found, Mask
from tasks.processors.rows import Rows
from tasks.processors.steps.conditions import matching


def enrich(rows: Rows, step: Enrich) -> Rows:
    """The rows with the attributes set where the condition holds, replacing values under the same keys."""
    where = matching(rows, step.where)
    return replace(rows, attributes=rows.attributes.changed(Enrichment(step), where))


@dataclass(frozen=True, slots=True)
class Enrichment:
    """What enrich does to attributes."""

    step: Enrich

    def entries(self, entries: Entries, where: Mask) -> Entries:
        """As `Change.entries`."""
        keys = pa.array(list(self.step.attributes), pa.string())
        values = pa.array(list(self.step.attributes.values()), pa.string())
        replaced = (
            pc.is_in(entries.keys, value_set=keys).to_numpy(zero_copy_only=False) & where[entries.owners()]
        )
        return _appended(entries.only(~replaced), keys, values, where)

    def values(self, key: str, where: Mask, among: Mask, before: Callable[[str], Found]) -> Found:
        """As `Change.values`."""
        if key not in self.step.attributes:
            return before(key)
        owner, values = before(key)
        left = np.flatnonzero(~where[owner])
        given = np.flatnonzero(where & among)
        new = pa.array([self.step.attributes[key]], pa.string()).take(
            pa.array(np.zeros(len(given), np.int64))
        )
        return (
            np.concatenate([owner[left], given]),
            pa.concat_arrays([values.take(pa.array(left)), new]),
        )

    def details(self, details: Details) -> Details:
        """As `Change.details`: of the attributes that are a span's own, and typed."""
        return [one and self._enriched(one) for one in details]

    def _enriched(self, one: SpanDetails) -> SpanDetails:
        if one.span is None:
            return one
        given = self.step.attributes
        pairs = [pair for pair in one.span.attributes if pair.key not in given]
        pairs += [KeyValue(key, AnyValue(string_value=value)) for key, value in given.items()]
        return replaced(one, span=replaced(one.span, attributes=pairs))


def _appended(entries: Entries, keys: pa.Array, values: pa.Array, where: Mask) -> Entries:
    """The entries with the same new ones at the end of each event where the mask is true."""
    offsets = entries.offsets + np.concatenate(([0], np.cumsum(where))) * len(keys)
    source = np.empty(offsets[-1], dtype=np.int64)
    old = np.arange(len(entries.keys))
    source[old + (offsets - entries.offsets)[entries.owners()]] = old
    for number in range(len(keys)):
        source[offsets[1:][where] - len(keys) + number] = len(old) + number
    return Entries(
        offsets,
        pa.concat_arrays([entries.keys, keys]).take(pa.array(source)),
        pa.concat_arrays([entries.values, values]).take(pa.array(source)),
    )

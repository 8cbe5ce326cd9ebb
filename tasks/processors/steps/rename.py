"""rename: other names for services, operations and attribute keys."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.steps import Rename
from tasks.events import KeyValue
from tasks.processors.attributes import Details, Entries, Found, Mask
from tasks.processors.details import with_pairs
from tasks.processors.names import Names
from tasks.processors.rows import Rows


def rename(rows: Rows, step: Rename) -> Rows:
    """The rows with the names that the step maps replaced by what it maps them to."""
    attributes = rows.attributes
    if step.attributes:
        attributes = attributes.changed(Renaming(step), np.ones(len(rows), dtype=np.bool_))
    return replace(
        rows,
        service=_reworded(rows.service, step.services),
        operation=_reworded(rows.operation, step.operations),
        attributes=attributes,
    )


@dataclass(frozen=True, slots=True)
class Renaming:
    """What rename does to attributes."""

    step: Rename

    def entries(self, entries: Entries, where: Mask) -> Entries:
        """As `Change.entries`."""
        encoded, new = entries.keys.dictionary_encode(), self.step.attributes
        if not pc.any(pc.is_in(encoded.dictionary, value_set=_strings(new))).as_py():
            return entries
        return replace(entries, keys=_renamed(encoded.dictionary, new).take(encoded.indices))

    def values(self, key: str, where: Mask, among: Mask, before: Callable[[str], Found]) -> Found:
        """As `Change.values`."""
        names = [old for old, new in self.step.attributes.items() if new == key]
        if key not in self.step.attributes:
            names.append(key)
        found = [before(name) for name in names]
        return (
            np.concatenate([np.empty(0, dtype=np.int64), *(owner for owner, _ in found)]),
            pa.concat_arrays([pa.array([], pa.string()), *(values for _, values in found)]),
        )

    def details(self, details: Details) -> Details:
        """As `Change.details`: the keys of all attributes, and not those within their values."""
        return with_pairs(details, self._renamed_pairs)

    def _renamed_pairs(self, pairs: Sequence[KeyValue]) -> list[KeyValue]:
        new = self.step.attributes
        return [KeyValue(new.get(pair.key or "", pair.key), pair.value) for pair in pairs]


def _reworded(names: Names, new: Mapping[str, str]) -> Names:
    return names.reworded(_renamed(names.words, new)) if new else names


def _renamed(words: pa.Array, new: Mapping[str, str]) -> pa.Array:
    place = pc.index_in(words, value_set=_strings(new))
    return pc.coalesce(pa.array(list(new.values()), pa.string()).take(place), words)


def _strings(keys: Mapping[str, str]) -> pa.Array:
    return pa.array(list(keys), pa.string())

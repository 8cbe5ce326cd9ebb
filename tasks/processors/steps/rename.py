"""rename: other names for services, operations and attribute keys."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.steps import Rename
from tasks.processors.attributes import Entries, Mask
from tasks.processors.names import Names
from tasks.processors.rows import Rows


def rename(rows: Rows, step: Rename) -> Rows:
    """The rows with the names that the step maps replaced by what it maps them to."""
    attributes = rows.attributes
    if step.attributes:

        def rekey(entries: Entries, _: Mask) -> Entries:
            encoded = entries.keys.dictionary_encode()
            if not pc.any(pc.is_in(encoded.dictionary, value_set=_strings(step.attributes))).as_py():
                return entries
            return replace(entries, keys=_renamed(encoded.dictionary, step.attributes).take(encoded.indices))

        attributes = attributes.changed(rekey, np.ones(len(rows), dtype=np.bool_))
    return replace(
        rows,
        service=_reworded(rows.service, step.services),
        operation=_reworded(rows.operation, step.operations),
        attributes=attributes,
    )


def _reworded(names: Names, new: Mapping[str, str]) -> Names:
    return names.reworded(_renamed(names.words, new)) if new else names


def _renamed(words: pa.Array, new: Mapping[str, str]) -> pa.Array:
    place = pc.index_in(words, value_set=_strings(new))
    return pc.coalesce(pa.array(list(new.values()), pa.string()).take(place), words)


def _strings(keys: Mapping[str, str]) -> pa.Array:
    return pa.array(list(keys), pa.string())

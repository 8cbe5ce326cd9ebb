"""Columns of an Arrow IPC stream that say more of an event than those of EVENTS do."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa

from tasks.decoders.arrow import columns
from tasks.decoders.arrow.layouts import Unfitting, plain, single
from tasks.decoders.attributes import either, valid
from tasks.decoders.contract import DecodeLimits
from tasks.decoders.ids import Mask
from tasks.decoders.reasons import RejectReason
from tasks.decoders.sent_details import SentDetails

FLAGS: Final = "flags"
DOCUMENTS: Final = ("resource", "scope", "span", "span_events", "links")
FIELDS: Final = ("trace_state", FLAGS)
NAMES: Final = (*FIELDS, *DOCUMENTS)
Wrong = tuple[RejectReason, Mask | None, str]


class SentColumns(NamedTuple):
    """What rows say in columns of NAMES, by row; which can't be read and why; the bytes of the columns."""

    sent: dict[int, SentDetails]
    wrong: list[Wrong]
    nbytes: int


def sent(table: pa.Table, services: Any, most: int, limits: DecodeLimits) -> SentColumns:
    """What the rows of a validated table say. `services` are the services of all rows.

    Raises `Unfitting` for a type that is none of these columns', and when they take more than `most` bytes;
    `UnfitBatch`: too_many_values, which are those of each document once, in however many rows it is.
    """
    made: dict[str, Any] = {}
    wrong: list[Wrong] = []
    for name in (one for one in NAMES if one in table.column_names):
        values = single(table[name], most)
        if name == FLAGS:
            made[name] = _flags(plain(values, most))
        else:
            made[name], bad = columns.texts(values, name, most)
            wrong.append((RejectReason.BAD_UTF8, bad, columns.NOT_UTF8))
        most -= made[name].nbytes
    given = either([valid(values) for values in made.values()])
    if given is None or not given.any():
        return SentColumns({}, wrong, 0)
    rows = pa.array(np.flatnonzero(given))
    taken = {name: values.take(rows) for name, values in made.items()}
    fields = (taken[name].to_pylist() if name in taken else [None] * len(rows) for name in FIELDS)
    documents = _documents(taken, len(rows), limits)
    each = zip(services.take(rows).to_pylist(), *fields, *documents, strict=True)
    found = {row: SentDetails(*one) for row, one in zip(rows.to_pylist(), each, strict=True)}
    return SentColumns(found, wrong, sum(values.nbytes for values in made.values()))


def _flags(values: Any) -> Any:
    if pa.types.is_null(values.type):
        return values.cast(pa.int64())
    if not pa.types.is_integer(values.type):
        raise Unfitting(f"flags is {values.type}")
    return columns.integers(values)


def _documents(taken: Mapping[str, Any], rows: int, limits: DecodeLimits) -> list[Sequence[bytes]]:
    """Of each of DOCUMENTS the rows' bytes, empty for none: of equal ones the same object."""
    encoded = {name: taken[name].dictionary_encode() for name in DOCUMENTS if name in taken}
    columns.bound_values(sum(columns.json_values(one.dictionary) for one in encoded.values()), limits)
    found: list[Sequence[bytes]] = []
    for name in DOCUMENTS:
        if name not in encoded:
            found.append([b""] * rows)
            continue
        each = [*encoded[name].dictionary.cast(pa.binary()).to_pylist(), b""]
        codes = encoded[name].indices.fill_null(len(each) - 1).to_pylist()
        found.append([each[code] for code in codes])
    return found

"""Columns of an Arrow IPC stream that say more of an event than those of EVENTS do."""

from typing import Any, Final

import numpy as np
import pyarrow as pa

from tasks.decoders.arrow import columns
from tasks.decoders.arrow.layouts import Unfitting, plain, single
from tasks.decoders.attributes import either, valid
from tasks.decoders.ids import Mask
from tasks.decoders.reasons import RejectReason
from tasks.decoders.sent_details import SentDetails

FLAGS: Final = "flags"
DOCUMENTS: Final = ("resource", "scope", "span", "span_events", "links")
NAMES: Final = ("trace_state", FLAGS, *DOCUMENTS)
Wrong = tuple[RejectReason, Mask | None, str]


def sent(table: pa.Table, services: Any, most: int) -> tuple[dict[int, SentDetails], list[Wrong]]:
    """What the rows of a validated table say in columns of NAMES, by row, and which can't be read.
    `services` are the services of all rows.

    Raises `Unfitting` for a type that is none of these columns', and when they take more than `most` bytes.
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
        return {}, wrong
    rows = pa.array(np.flatnonzero(given))
    taken = {name: values.take(rows).to_pylist() for name, values in made.items()}
    nothing = [None] * len(rows)
    each = zip(
        services.take(rows).to_pylist(),
        *(taken.get(name, nothing) for name in ("trace_state", FLAGS)),
        *(map(_document, taken.get(name, nothing)) for name in DOCUMENTS),
        strict=True,
    )
    return {row: SentDetails(*one) for row, one in zip(rows.to_pylist(), each, strict=True)}, wrong


def _flags(values: Any) -> Any:
    if pa.types.is_null(values.type):
        return values.cast(pa.int64())
    if not pa.types.is_integer(values.type):
        raise Unfitting(f"flags is {values.type}")
    return columns.integers(values)


def _document(text: str | None) -> bytes:
    return b"" if text is None else text.encode()

"""An Arrow IPC stream row by row: where pyarrow refuses it as a whole."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from tasks.decoders.arrow import schema_types
from tasks.decoders.arrow.columns import NO_ATTRIBUTES, NOT_UTF8, utf8
from tasks.decoders.arrow.layouts import bound, compact, ends_of, plain
from tasks.decoders.attributes import either, rows_of, valid
from tasks.decoders.contract import BadRow, DecodeLimits
from tasks.decoders.ids import Mask
from tasks.decoders.reasons import RejectReason
from tasks.decoders.rows import bad_rows

ANY_SIZE: Final = 2**62


class StreamRows:
    """The rows of a stream, as their sender wrote them, also those that no array can hold."""

    def __init__(self, stream: bytes, columns: Sequence[int], schema: Any) -> None:
        """`columns` are those of `schema` that are read.

        Raises what pyarrow raises for bytes that are no stream, or for one that lies.
        """
        self._names = [schema.names[index] for index in columns]
        self._kinds = [schema.types[index] for index in columns]
        loose, self._types = schema_types.loosened(stream, self._names)
        options = pyarrow.ipc.IpcReadOptions(use_threads=False, included_fields=list(columns))
        self._table = pyarrow.ipc.open_stream(loose, options=options).read_all()
        self._table.validate(full=True)

    @property
    def rows(self) -> int:
        return int(self._table.num_rows)

    def bad(self, limits: DecodeLimits) -> list[BadRow]:
        """The rows that keep the stream from being read. Raises `UnfitBatch`: too_many_rejects."""
        wrong: list[tuple[RejectReason, Mask | None, str]] = []
        for name, kind in zip(self._names, self._kinds, strict=True):
            chunks = self._table[name].chunks
            texts = _masks((_not_text(chunk, kind, limits.window_bytes) for chunk in chunks), chunks)
            wrong.append((RejectReason.BAD_UTF8, texts, NOT_UTF8))
            keys = _masks((_null_keys(chunk, kind) for chunk in chunks), chunks)
            wrong.append((RejectReason.BAD_ATTRIBUTES, keys, NO_ATTRIBUTES))
        return bad_rows(wrong, limits)

    def written(self, runs: Iterable[tuple[int, int]], most: int = ANY_SIZE) -> bytes:
        """A stream of the rows from the first up to the second of each pair, with their sender's schema.

        Raises `Unfitting` when they take more than `most` bytes.
        """
        sink = pa.BufferOutputStream()
        schema = self._table.schema.remove_metadata()
        with pyarrow.ipc.new_stream(sink, schema) as writer:
            for batch in self._batches(runs):
                columns = [compact(column, most) for column in batch.columns]
                made = pa.record_batch(columns, schema=schema)
                bound(made.nbytes, most)
                most -= made.nbytes
                writer.write_batch(made)
        return schema_types.tightened(bytes(sink.getvalue()), self._names, self._types)

    def _batches(self, runs: Iterable[tuple[int, int]]) -> Iterator[Any]:
        for first, end in runs:
            for batch in self._table.slice(first, end - first).to_batches():
                if batch.num_rows:
                    yield batch


def runs_between(bad: Sequence[int], rows: int) -> list[tuple[int, int]]:
    """The runs of rows, first and end, that lie between the bad ones (ascending)."""
    edges = [-1, *bad, rows]
    return [(before + 1, after) for before, after in pairwise(edges) if before + 1 < after]


def _masks(found: Iterable[Mask | None], chunks: Sequence[Any]) -> Mask | None:
    masks = [
        np.zeros(len(chunk), np.bool_) if mask is None else mask
        for mask, chunk in zip(found, chunks, strict=True)
    ]
    whole = np.concatenate([np.zeros(0, np.bool_), *masks])
    return whole if whole.any() else None


def _not_text(values: Any, kind: Any, most: int) -> Mask | None:
    """Which rows hold bytes that are to be text, as `kind` says, and are none."""
    if pa.types.is_dictionary(kind):
        words = _not_text(values.dictionary, kind.value_type, most)
        return None if words is None else words[np.asarray(values.indices.fill_null(0))] & valid(values)
    if pa.types.is_struct(kind):
        pairs = zip(values.flatten(), kind, strict=True)
        return either([_not_text(child, one.type, most) for child, one in pairs])
    if pa.types.is_map(kind):
        kind = pa.list_(pa.struct([kind.key_field, kind.item_field]))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = _not_text(values.values, kind.value_type, most)
        return None if inner is None else rows_of(inner, ends_of(values)) & valid(values)
    loose = values.type in (pa.binary(), pa.large_binary(), pa.binary_view())
    return utf8(plain(values, most))[1] if loose and values.type != kind else None


def _null_keys(values: Any, kind: Any) -> Mask | None:
    if not pa.types.is_map(kind):
        return None
    keys = values.values.flatten()[0]
    return rows_of(~valid(keys), ends_of(values)) & valid(values) if keys.null_count else None

"""Events as an Arrow IPC stream: columns by name. docs/formats.md says which types are taken for each."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from tasks.decoders.arrow import columns, detail_columns, message_bounds
from tasks.decoders.arrow.layouts import Unfitting, bound, looked_at, plain, single
from tasks.decoders.arrow.row_by_row import StreamRows, runs_between
from tasks.decoders.contract import DecodeLimits, Read, UnfitBatch
from tasks.decoders.ids import Mask
from tasks.decoders.late_details import DetailSource
from tasks.decoders.reasons import RejectReason, UnfitReason
from tasks.decoders.rows import NONE, bad_rows
from tasks.decoders.sent_details import rejections
from tasks.events import EVENTS, Detailed

REQUIRED: Final = ("event_id", "trace_id", "started_at", "duration_us", "service", "operation")
IDS: Final = {
    "event_id": (8, RejectReason.BAD_EVENT_ID),
    "trace_id": (16, RejectReason.BAD_TRACE_ID),
    "parent_id": (8, RejectReason.BAD_PARENT_ID),
}
TEXTS: Final = ("service", "operation", "kind", "status", "status_message", "user_id")
Wrong = tuple[RejectReason, Mask | None, str]
# All that pyarrow raises for bytes that are no stream, or for one that lies.
Corrupt = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, MemoryError, OverflowError)


def read(data: bytes, limits: DecodeLimits) -> Read:
    """An Arrow IPC stream of any number of record batches; columns of other names are not looked at.

    Raises `UnfitBatch`: malformed, bad_schema, too_large, too_many_events, too_many_values,
    too_many_rejects.
    """
    try:
        return _read_whole(data, limits)
    except Corrupt as error:
        try:
            return _read_apart(data, limits)
        except Corrupt:
            raise UnfitBatch(UnfitReason.MALFORMED, f"not an Arrow IPC stream: {error}"[:200]) from None


def _read_whole(data: bytes, limits: DecodeLimits) -> Read:
    """As `read`. Raises `Corrupt`, too, for what pyarrow refuses."""
    message_bounds.bound(data, limits)
    try:
        table = validated(data, limits)
    except Unfitting as error:
        raise UnfitBatch(UnfitReason.BAD_SCHEMA, str(error)) from None
    try:
        made = cast(table, limits)
        bad = bad_rows(made.wrong, limits, made.rejected)
        read = Read.of(made.events, bad, detailed=made.detailed)
        return replace(read, shared_bytes=made.detail_bytes)
    except Unfitting as error:
        raise UnfitBatch(UnfitReason.BAD_SCHEMA, str(error)) from None
    except Corrupt as error:
        raise UnfitBatch(UnfitReason.BAD_SCHEMA, f"can't be made events of: {error}"[:200]) from None


def pick(data: bytes, rows: Sequence[int]) -> Iterator[bytes]:
    """As `Format.pick`: streams of one row, of the columns that are read: nobody has checked the others."""
    stream = _stream_rows(data)
    return (stream.written([(row, row + 1)]) for row in rows if row < stream.rows)


def _read_apart(data: bytes, limits: DecodeLimits) -> Read:
    """Row by row: for a stream with texts or maps that Arrow does not allow, in rows or in what no row uses.

    Raises `UnfitBatch`, and `Corrupt` when it is not that.
    """
    try:
        stream = _stream_rows(data)
        bad = stream.bad(limits)
        rows = [row.row for row in bad]
        good = stream.written(runs_between(rows, stream.rows), limits.window_bytes)
    except Unfitting as error:
        raise UnfitBatch(UnfitReason.BAD_SCHEMA, str(error)) from None
    places = np.delete(np.arange(stream.rows), rows)
    return _read_whole(good, limits).moved(places.tolist(), bad)


def validated(data: bytes, limits: DecodeLimits) -> pa.Table:
    """The stream's table, of the columns that are read only, without record batches that have no rows:
    Arrow's format lets their offsets be anything, and pyarrow follows them when it is asked for an array's
    size. Validating reads whatever a view looks at, once for each view.

    Raises `Corrupt`, `Unfitting` for views that look at more than a window, and `UnfitBatch`: bad_schema.
    """
    reader = _opened(data)
    batches = list(reader)
    table = pa.Table.from_batches(batches, reader.schema)
    table.validate()  # that all buffers are there
    bound(sum(looked_at(column) for batch in batches for column in batch.columns), limits.window_bytes)
    table.validate(full=True)
    filled = [batch for batch in batches if batch.num_rows]
    return table if len(filled) == len(batches) else pa.Table.from_batches(filled, reader.schema)


def _opened(data: bytes) -> Any:
    reader = pyarrow.ipc.open_stream(data, options=pyarrow.ipc.IpcReadOptions(use_threads=False))
    known = _columns(reader.schema.names)
    if len(known) < len(reader.schema.names):
        options = pyarrow.ipc.IpcReadOptions(use_threads=False, included_fields=known)
        reader = pyarrow.ipc.open_stream(data, options=options)
    return reader


def _columns(names: Sequence[str]) -> list[int]:
    """Which of the columns are read."""
    known = [
        index for index, name in enumerate(names) if name in EVENTS.names or name in detail_columns.NAMES
    ]
    if len({names[index] for index in known}) < len(known):
        raise UnfitBatch(UnfitReason.BAD_SCHEMA, "two columns of one name")
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise UnfitBatch(UnfitReason.BAD_SCHEMA, f"no column {', '.join(missing)}")
    return known


def _stream_rows(data: bytes) -> StreamRows:
    schema = pyarrow.ipc.open_stream(data).schema
    return StreamRows(data, _columns(schema.names), schema)


class Cast(NamedTuple):
    """A stream's rows as events: which can't be made so and why, by mask or by row, and who makes the details
    of each.
    """

    events: pa.Table
    wrong: list[Wrong]
    rejected: Mapping[int, tuple[RejectReason, str]] = NONE
    detailed: Sequence[Detailed | None] | None = None
    detail_bytes: int = 0  # of their columns


def cast(table: pa.Table, limits: DecodeLimits) -> Cast:
    """Validated columns as those of EVENTS, and details of the others.

    Raises `Unfitting` and `Corrupt` for types and values that nothing can be made of, and `UnfitBatch`:
    too_many_values.
    """
    if table.schema.names == EVENTS.names and table.schema.types == EVENTS.types:
        return Cast(table.cast(EVENTS), [])
    events, wrong, left = _events(table, limits)
    said = detail_columns.sent(table, events["service"], left, limits)
    rejected = rejections(said.sent)
    source = DetailSource(sent={row: one for row, one in said.sent.items() if row not in rejected})
    return Cast(events, [*wrong, *said.wrong], rejected, source.each(len(events)), said.nbytes)


def _events(table: pa.Table, limits: DecodeLimits) -> tuple[pa.Table, list[Wrong], int]:
    """The columns of EVENTS, which rows can't be made so, and the bytes that are left for others."""
    left = limits.window_bytes  # for the columns still to be made: a dictionary's one word can be every row's
    wrong: list[Wrong] = []
    made: dict[str, Any] = {}
    for name in (one for one in EVENTS.names if one in table.schema.names):
        if name == "attributes":
            columns.bound_entries(table[name], limits)
        values = single(table[name], left)
        if name in IDS:
            width, reason = IDS[name]
            made[name], bad = columns.ids(plain(values, left), name, width)
            wrong.append((reason, bad, f"neither {width} bytes nor {2 * width} hexadecimal digits"))
        elif name == "attributes":
            made[name], bad = columns.attributes(values, left, limits)
            wrong.append((RejectReason.BAD_ATTRIBUTES, bad, columns.NO_ATTRIBUTES))
        elif name in TEXTS:
            made[name], bad = columns.texts(values, name, left)
            wrong.append((RejectReason.BAD_UTF8, bad, columns.NOT_UTF8))
        else:
            made_of = columns.times if name == "started_at" else columns.integers
            made[name] = made_of(plain(values, left))
        left -= made[name].nbytes
    nulls = {field.name: pa.nulls(table.num_rows, field.type) for field in EVENTS if field.name not in made}
    events = pa.table({name: (made | nulls)[name] for name in EVENTS.names}, schema=EVENTS)
    return events, wrong, left

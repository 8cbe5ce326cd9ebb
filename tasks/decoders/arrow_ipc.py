"""Events as an Arrow IPC stream: columns by name. docs/formats.md says which types are taken for each."""

from typing import Any, Final

import pyarrow as pa
import pyarrow.ipc

from tasks.decoders import arrow_columns as columns, ipc_messages
from tasks.decoders.arrow_columns import Unfitting
from tasks.decoders.contract import DecodeLimits, Read, UnfitBatch
from tasks.decoders.ids import Mask
from tasks.decoders.reasons import RejectReason, UnfitReason
from tasks.decoders.rows import bad_rows
from tasks.events import EVENTS

REQUIRED: Final = ("event_id", "trace_id", "started_at", "duration_us", "service", "operation")
IDS: Final = {
    "event_id": (8, RejectReason.BAD_EVENT_ID),
    "trace_id": (16, RejectReason.BAD_TRACE_ID),
    "parent_id": (8, RejectReason.BAD_PARENT_ID),
}
TEXTS: Final = ("service", "operation", "kind", "status", "status_message", "user_id")
# All that pyarrow raises for bytes that are no stream, or for one that lies.
Corrupt = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, MemoryError, OverflowError)


def read(data: bytes, limits: DecodeLimits) -> Read:
    """An Arrow IPC stream of any number of record batches; columns that are not of EVENTS are not looked at.

    Raises `UnfitBatch`: malformed, bad_schema, too_large, too_many_events, too_many_values,
    too_many_rejects.
    """
    ipc_messages.bound(data, limits)
    try:
        table = _known(data)
        table.validate(full=True)
    except Corrupt as error:
        raise UnfitBatch(UnfitReason.MALFORMED, f"not an Arrow IPC stream: {error}"[:200]) from None
    if table.schema.names == EVENTS.names and table.schema.types == EVENTS.types:
        return Read(table=table.cast(EVENTS))
    try:
        return _cast(table, limits)
    except Unfitting as error:
        raise UnfitBatch(UnfitReason.BAD_SCHEMA, str(error)) from None
    except Corrupt as error:
        raise UnfitBatch(UnfitReason.BAD_SCHEMA, f"can't be made events of: {error}"[:200]) from None


def _known(data: bytes) -> pa.Table:
    """The stream's table, of EVENTS' columns only."""
    options = pyarrow.ipc.IpcReadOptions(use_threads=False)
    reader = pyarrow.ipc.open_stream(data, options=options)
    names = reader.schema.names
    known = [index for index, name in enumerate(names) if name in EVENTS.names]
    if len({names[index] for index in known}) < len(known):
        raise UnfitBatch(UnfitReason.BAD_SCHEMA, "two columns of one name")
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise UnfitBatch(UnfitReason.BAD_SCHEMA, f"no column {', '.join(missing)}")
    if len(known) < len(names):
        options = pyarrow.ipc.IpcReadOptions(use_threads=False, included_fields=known)
        reader = pyarrow.ipc.open_stream(data, options=options)
    return reader.read_all()


def _cast(table: pa.Table, limits: DecodeLimits) -> Read:
    left = limits.window_bytes  # for the columns still to be made: a dictionary's one word can be every row's
    sent: dict[str, Any] = {}
    wrong: list[tuple[RejectReason, Mask | None, str]] = []
    made: dict[str, Any] = {}
    for name in (one for one in EVENTS.names if one in table.schema.names):
        values = columns.single(table[name])
        if name in IDS:
            width, reason = IDS[name]
            sent[name] = columns.plain(values, left)
            made[name], bad = columns.ids(sent[name], name, width)
            wrong.append((reason, bad, f"neither {width} bytes nor {2 * width} hexadecimal digits"))
        elif name == "attributes":
            made[name], bad = columns.attributes(values, left, limits)
            wrong.append((RejectReason.BAD_ATTRIBUTES, bad, "not a JSON object, or nested too deep"))
        elif name in TEXTS:
            made[name] = columns.texts(values, name, left)
        else:
            cast = columns.times if name == "started_at" else columns.integers
            made[name] = cast(columns.plain(values, left))
        left -= made[name].nbytes
    nulls = {field.name: pa.nulls(table.num_rows, field.type) for field in EVENTS if field.name not in made}
    events = pa.table({name: (made | nulls)[name] for name in EVENTS.names}, schema=EVENTS)
    return Read.of(events, bad_rows(events, wrong, sent, limits))

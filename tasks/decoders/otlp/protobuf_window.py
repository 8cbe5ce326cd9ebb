"""OTLP/HTTP traces in protobuf, a window at a time: what is plain is scanned, the rest read alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.decoders.attributes import from_parts
from tasks.decoders.contract import Allowance, DecodeLimits, UnfitBatch, WindowBody, WindowRead
from tasks.decoders.otlp import protobuf_export
from tasks.decoders.otlp.protobuf_export import ERROR
from tasks.decoders.otlp.scan_tables import (
    CODE,
    EXCEPTIONAL,
    FIRST,
    GROUP,
    GROUP_FIRST,
    GROUP_LAST,
    GROUPS,
    IDS,
    KEY,
    KIND,
    LAST,
    MESSAGE_AT,
    MESSAGE_SIZE,
    NAME_AT,
    NAME_SIZE,
    NONE,
    OK,
    PARENT_ID,
    SERVICE_SIZE,
    SERVICE_TYPE,
    SPAN_ID,
    SPAN_SIZE,
    SPANS,
    TRACE_ID,
    TYPE,
    USER_ENTRY,
)
from tasks.decoders.otlp.scan_texts import strings
from tasks.decoders.otlp.scanned import Kernels, Scan, machine_code, scanned
from tasks.decoders.otlp.scanned_details import scanned_details, scanned_exceptions
from tasks.decoders.otlp.spans import KINDS, MOST_KIND, NO_SERVICE, durations, operations
from tasks.decoders.times import MICROSECONDS
from tasks.decoders.validate import ATTRIBUTES
from tasks.decoders.window_reads import by_batch, merged
from tasks.errors import WindowTooLarge
from tasks.events import COLUMNS, LateAttributes, SpanDetails

Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]
STATUS: Final = pa.array(["ok", "error"])
alone = by_batch(protobuf_export.read)


def read_window(
    bodies: Sequence[WindowBody], limits: DecodeLimits, allowance: Allowance, kernels: Kernels | None = None
) -> WindowRead:
    """As `Format.read_window`, with functions as machine code if no others are given."""
    window = [body for body in bodies if _within(body.data, limits)]
    try:
        scan = scanned([body.data for body in window], limits, kernels or machine_code())
    except WindowTooLarge:
        if len(bodies) > 1:
            raise
        return alone(bodies, limits, allowance)
    plain = scan.outcome[:, 0] == OK
    batches = np.array([body.batch for body in window], np.int64)[plain]
    try:
        together = _together(
            scan, batches, scan.outcome[plain, 1], int(scan.outcome[plain, 2].sum()), allowance
        )
    except UnfitBatch:  # the window's only batch, whose maps may be smaller than they seem
        return alone(bodies, limits, Allowance(limits.window_bytes, 1))
    known = set(batches.tolist())
    others = [body for body in bodies if body.batch not in known]
    return merged([together, alone(others, limits, allowance)]) if others else together


def _within(data: bytes, limits: DecodeLimits) -> bool:
    try:
        protobuf_export.bound_values(data, limits)
    except UnfitBatch:
        return False
    return True


def _together(scan: Scan, batches: Rows, sizes: Rows, map_bytes: int, allowance: Allowance) -> WindowRead:
    allowance.take(map_bytes)  # before a resource's service and user are written once for each of its spans
    room = scan.room
    rows = int(room.work[SPANS])
    spans, groups, times = room.spans[:rows], room.groups, room.times[:rows]
    group = spans[:, GROUP]
    users = spans[:, USER_ENTRY]
    table = pa.table(
        {
            "event_id": _ids(room.ids[:rows, 16:24], spans[:, IDS] & SPAN_ID),
            "trace_id": _ids(room.ids[:rows, :16], spans[:, IDS] & TRACE_ID),
            "parent_id": _ids(room.ids[:rows, 24:], spans[:, IDS] & PARENT_ID),
            "started_at": pa.array((times[:, 0] // 1_000).view(np.int64)).cast(MICROSECONDS),
            "duration_us": pa.array(durations(times[:, 0], times[:, 1])),
            "service": _services(scan).take(pa.array(group)),
            "operation": operations(_strings(scan, spans[:, NAME_AT : NAME_SIZE + 1])),
            "kind": KINDS.take(pa.array(np.where(spans[:, KIND] > MOST_KIND, 0, spans[:, KIND]))),
            "status": STATUS.take(pa.array((spans[:, CODE] == ERROR).astype(np.int8))),
            "status_message": _where(
                spans[:, MESSAGE_SIZE] > 0,
                lambda there: _strings(scan, spans[there, MESSAGE_AT : MESSAGE_SIZE + 1]),
            ),
            "user_id": _where(users >= 0, lambda there: scan.values(room.entries[users[there], TYPE:])),
        },
        schema=COLUMNS,
    )
    allowance.take(table.nbytes)
    lent = (groups[:, GROUP_LAST] - groups[:, GROUP_FIRST])[group].astype(np.int64)
    counts = lent + spans[:, LAST] - spans[:, FIRST]
    return WindowRead(
        table=table,
        attributes=LateAttributes((ScannedAttributes(scan, counts, map_bytes),)),
        batch_of=np.repeat(batches, sizes),
        lent=lent if counts.max(initial=0) > ATTRIBUTES else None,
    )


def _ids(ids: NDArray[np.uint8], there: NDArray[np.int32]) -> Any:
    given = there != 0
    if given.all():
        return _fixed(ids, None)
    return _fixed(np.where(given[:, None], ids, 0), np.packbits(given, bitorder="little"))


def _fixed(ids: NDArray[np.uint8], valid: NDArray[np.uint8] | None) -> Any:
    buffers = [None if valid is None else pa.py_buffer(valid), pa.py_buffer(np.ascontiguousarray(ids))]
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(ids.shape[1]), len(ids), buffers)


def _services(scan: Scan) -> Any:
    groups = scan.room.groups[: scan.room.work[GROUPS]]
    named = _where(
        groups[:, SERVICE_TYPE] != NONE,
        lambda there: scan.values(groups[there, SERVICE_TYPE : SERVICE_SIZE + 1]),
    )
    return named.fill_null(NO_SERVICE)


def _strings(scan: Scan, places: NDArray[np.int32]) -> pa.StringArray:
    return strings(scan.data, places[:, 0], places[:, 1], scan.kernels.copy)


def _where(there: Mask, texts: Callable[[Mask], pa.StringArray]) -> pa.StringArray:
    """The texts of the rows that the mask marks, nulls between."""
    if there.all():
        return texts(there)
    if not there.any():
        return pa.nulls(len(there), pa.string())
    return texts(there).take(pa.array(np.cumsum(there) - 1, mask=~there))


@dataclass(frozen=True, slots=True)
class ScannedAttributes:
    """Attributes of spans that were scanned: an `AttributeSource`, whose entries are within all bounds."""

    scan: Scan
    most: Rows  # entries of each event, or more: of a key that comes twice, both
    nbytes: int

    def __len__(self) -> int:
        return len(self.most)

    def take(self, rows: Rows) -> pa.MapArray:
        """As `AttributeSource.take`."""
        found, counts = self.scan.entries_of(rows)
        entries = self.scan.room.entries[found]
        keys = self.scan.keys().take(pa.array(entries[:, KEY]))
        return from_parts(counts.astype(np.int32), keys, self.scan.values(entries[:, TYPE:]))

    def values_of(self, key: str, among: Mask) -> tuple[Rows, pa.StringArray]:
        """As `AttributeSource.values_of`."""
        code = pc.index(self.scan.keys(), key).as_py()
        rows = np.flatnonzero(among)
        found, counts = self.scan.entries_of(rows if code >= 0 else rows[:0])
        entries = self.scan.room.entries[found]
        named = entries[:, KEY] == code
        return np.repeat(rows[: len(counts)], counts)[named], self.scan.values(entries[named, TYPE:])

    def counts(self) -> Rows:
        """As `AttributeSource.counts`."""
        return self.most

    def oversized(self, key_bytes: int, value_bytes: int) -> Mask | None:
        """None: a body with what is longer than validation allows is read alone."""
        return None

    def with_nul(self) -> Mask | None:
        """None: a body with U+0000 is read alone."""
        return None

    def detail_sizes(self, rows: Rows) -> Rows:
        """As `AttributeSource.detail_sizes`."""
        sizes: Rows = self.scan.room.spans[rows, SPAN_SIZE].astype(np.int64)
        return sizes

    def details(self, rows: Rows) -> list[SpanDetails | None]:
        """As `AttributeSource.details`."""
        return scanned_details(self.scan, rows)

    def exceptions(self, rows: Rows) -> list[SpanDetails | None]:
        """As `AttributeSource.exceptions`."""
        return scanned_exceptions(self.scan, rows)

    def exceptional(self) -> Mask | None:
        """As `AttributeSource.exceptional`."""
        marks = self.scan.room.spans[: len(self), EXCEPTIONAL] != 0
        return marks if marks.any() else None

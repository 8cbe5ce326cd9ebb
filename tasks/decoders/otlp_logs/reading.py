"""The log records of an export, read one by one, so that a bad one costs itself only."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

import numpy as np
import pyarrow as pa

from tasks.decoders.contract import (
    Allowance,
    BadRow,
    DecodeLimits,
    Format,
    LogRead,
    Read,
    UnfitBatch,
    WindowBody,
    WindowRead,
)
from tasks.decoders.otlp.slots import Slot, Unread, bound_events
from tasks.decoders.otlp_logs.fields import NOTHING, RECORD_BYTES, Budget, LogFields, LogHolder
from tasks.decoders.reasons import RejectReason
from tasks.decoders.rows import bound_rejects
from tasks.decoders.window_reads import nothing
from tasks.events import LOGS, NO_EVENTS

NS_IN_US: Final = 1_000


class Reader(Protocol):
    """Reads the parts of an export in one encoding, within a budget. All raise `Unread` and `UnfitBatch`."""

    budget: Budget

    def resource(self, slot: Slot) -> LogHolder:
        """What the slot's group says of its resource."""

    def scope(self, slot: Slot) -> LogHolder | None:
        """What the slot's scope says of itself; None for nothing."""

    def record(self, piece: bytes, resource: LogHolder, scope: LogHolder | None) -> LogFields:
        """One record."""


@dataclass(frozen=True, slots=True)
class ReadableRecords:
    """The records that can be read and their rows, the rest, and the bytes that the former take."""

    records: list[LogFields] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    bytes: int = 0


def read_records(slots: Iterable[Slot], reader: Reader, limits: DecodeLimits) -> ReadableRecords:
    """Raises `UnfitBatch`: too_many_events, too_many_rejects, too_many_values, too_large."""
    found = ReadableRecords()
    holders = _Holders(reader)
    row = 0
    for number, slot in enumerate(slots):  # empty ones cost their time, too
        bound_events(max(number, row + len(slot.pieces)), limits)
        for piece in slot.pieces:
            try:
                record = _read(piece, slot, reader, holders)
                reader.budget.take(record.size)
                found.records.append(record)
                found.places.append(row)
            except Unread as unread:
                found.bad.append(BadRow(row=row, reason=unread.reason, detail=unread.detail))
                if len(found.bad) > limits.rejects:
                    bound_rejects(Counter(one.reason for one in found.bad), 0, limits)
            row += 1
    return replace(found, bytes=reader.budget.bytes)


def _read(piece: bytes, slot: Slot, reader: Reader, holders: "_Holders") -> LogFields:
    if slot.wrong:
        raise Unread(RejectReason.BAD_GROUP, slot.wrong)
    if len(piece) > RECORD_BYTES:
        raise Unread(RejectReason.BAD_FIELD, f"a log record above {RECORD_BYTES} bytes")
    record = reader.record(piece, holders.resource(slot), holders.scope(slot))
    if record.time_ns is None and record.observed_ns is None:
        raise Unread(RejectReason.BAD_TIME, "neither a time nor an observed time")
    return record


class _Holders:
    """The last resource and scope: each is read once for all records in it, also when it can't be read."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._resource = _Once()
        self._scope = _Once()

    def resource(self, slot: Slot) -> LogHolder:
        found = self._resource.read(slot.group, slot, self._reader.resource)
        return LogHolder(NOTHING) if found is None else found

    def scope(self, slot: Slot) -> LogHolder | None:
        return self._scope.read(slot.scope, slot, self._reader.scope)


class _Once:
    """Reads a slot unless `of` is the very object that was read last."""

    def __init__(self) -> None:
        self._of: bytes | None = None
        self._found: LogHolder | None = None
        self._wrong: tuple[RejectReason, str] | None = None

    def read(self, of: bytes, slot: Slot, read: Callable[[Slot], LogHolder | None]) -> LogHolder | None:
        if of is not self._of:
            self._of, self._found, self._wrong = of, None, None
            try:
                if len(of) + sum(map(len, slot.resource or ())) > RECORD_BYTES:
                    raise Unread(RejectReason.BAD_GROUP, f"a resource or scope above {RECORD_BYTES} bytes")
                self._found = read(slot)
            except Unread as unread:
                self._wrong = unread.reason, unread.detail
        if self._wrong is not None:
            raise Unread(*self._wrong)
        return self._found


def format_of(
    slots: Callable[[bytes, DecodeLimits], Iterable[Slot]],
    reader: Callable[[DecodeLimits], Reader],
    pick: Callable[[bytes, Sequence[int]], Iterator[bytes]],
) -> Format:
    """A `Format` whose bodies hold log records. `slots` raises `UnfitBatch`."""

    def read_body(data: bytes, limits: DecodeLimits) -> ReadableRecords:
        return read_records(slots(data, limits), reader(limits), limits)

    def read(data: bytes, limits: DecodeLimits) -> Read:
        return Read(table=NO_EVENTS, rejects=read_body(data, limits).bad)

    def read_window(bodies: Sequence[WindowBody], limits: DecodeLimits, allowance: Allowance) -> WindowRead:
        reads: dict[int, ReadableRecords] = {}
        unfit: dict[int, UnfitBatch] = {}
        for index, data in bodies:
            try:
                one = read_body(data, limits)
                allowance.take(one.bytes)
                reads[index] = one
            except UnfitBatch as error:
                unfit[index] = error
        rejects = {index: one.bad for index, one in reads.items() if one.bad}
        return replace(nothing(rejects, unfit), logs=_joined(reads))

    return Format(read=read, read_window=read_window, pick=pick)


def _joined(reads: dict[int, ReadableRecords]) -> LogRead:
    records = [record for one in reads.values() for record in one.records]
    sizes = [len(one.records) for one in reads.values()]
    return LogRead(
        table=table(records),
        batch_of=np.repeat(np.fromiter(reads, np.int64, len(reads)), sizes),
        places=np.array([place for one in reads.values() for place in one.places], np.int64),
    )


def table(records: Sequence[LogFields]) -> pa.Table:
    """The records as a table of LOGS."""
    at = [(one.observed_ns if one.time_ns is None else one.time_ns) or 0 for one in records]
    columns = {"at": pa.array([ns // NS_IN_US for ns in at], LOGS.field("at").type)}
    fields = zip(*records, strict=True) if records else [()] * len(LogFields._fields)
    for name, values in zip(LogFields._fields, fields, strict=True):
        columns[name] = pa.array(values, LOGS.field(name).type)
    return pa.table(columns, schema=LOGS)

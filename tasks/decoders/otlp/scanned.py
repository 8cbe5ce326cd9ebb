"""A window's OTLP trace exports in protobuf, scanned together into tables of numbers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.decoders.contract import DecodeLimits
from tasks.decoders.kernels import Kernel, compiled
from tasks.decoders.otlp import scan_texts
from tasks.decoders.otlp.details import OWN_BYTES, SCOPE_BYTES, SPAN_EVENTS
from tasks.decoders.otlp.scan import scan
from tasks.decoders.otlp.scan_merged import merged
from tasks.decoders.otlp.scan_tables import (
    BOUNDS,
    DICTIONARY,
    ENTRIES,
    FIRST,
    FULL_TABLE,
    GROUP,
    GROUP_COLUMNS,
    GROUP_FIRST,
    GROUP_LAST,
    GROUPS,
    KEYS,
    LAST,
    MOST_ATTRIBUTES,
    MOST_DETAILS,
    MOST_EVENTS,
    MOST_EXPANDED,
    MOST_KEY_BYTES,
    MOST_OWN_BYTES,
    MOST_SCOPE_BYTES,
    MOST_VALUE_BYTES,
    MOST_VALUES,
    SCOPE_COLUMNS,
    SCOPES,
    SPAN_COLUMNS,
    SPANS,
    WORK,
)
from tasks.decoders.otlp.scan_values import key_code
from tasks.decoders.otlp.spans import SERVICE, USERS
from tasks.decoders.validate import ATTRIBUTES, KEY_BYTES, VALUE_BYTES
from tasks.errors import WindowTooLarge

FIRST_KEYS: Final = tuple(key.encode() for key in (SERVICE, *USERS))  # in the order of their codes
MOST_BYTES: Final = 2**31 - 1  # of all bodies together: places in them are int32
LEAST_ROOM: Final = 64  # rows
SPAN_BYTES, ENTRY_BYTES, GROUP_BYTES = 64, 20, 1_000  # of a body, for which room is made at first
TABLES: Final = {
    SPANS: ("spans", "times", "ids"),
    ENTRIES: ("entries",),
    GROUPS: ("groups",),
    SCOPES: ("scopes",),
}
Rows = NDArray[np.int64]


class Kernels(NamedTuple):
    """The functions that a window is scanned with, and the form of the bytes that they take."""

    scan: Kernel
    merged: Kernel
    copy: Kernel
    data: Callable[[bytes], Any]


PLAIN: Final = Kernels(scan, merged, scan_texts.copy, bytes)


def _array(data: bytes) -> NDArray[np.uint8]:
    return np.frombuffer(data, np.uint8)


@cache
def machine_code() -> Kernels:
    """The same, compiled: in a process that forks, before it does."""
    room = Room.of(1, 1, 1)
    rows, data = np.zeros(1, np.int64), _array(b"\0")
    numbers = np.zeros(1, np.int32)
    tables = (room.entries, room.spans, room.times, room.ids, room.groups, room.scopes)
    return Kernels(
        compiled(scan, data, rows, np.zeros((1, 3), np.int64), 0, *tables, room.work, rows),
        compiled(merged, rows, room.spans, room.groups, room.entries, rows, rows, numbers),
        compiled(scan_texts.copy, data, numbers, numbers, np.zeros(1, np.uint8)),
        _array,
    )


@dataclass(slots=True)
class Room:
    """The tables that a scan fills: `scan.py` says what is in them."""

    entries: NDArray[np.int32]
    spans: NDArray[np.int32]
    times: NDArray[np.uint64]
    ids: NDArray[np.uint8]
    groups: NDArray[np.int32]
    scopes: NDArray[np.int32]
    work: NDArray[np.int64]

    @classmethod
    def of(cls, entries: int, spans: int, groups: int) -> "Room":
        """For so many rows of each, and as many scopes as groups."""
        return cls(
            np.empty((entries, 4), np.int32),
            np.empty((spans, SPAN_COLUMNS), np.int32),
            np.empty((spans, 2), np.uint64),
            np.empty((spans, 32), np.uint8),
            np.empty((groups, GROUP_COLUMNS), np.int32),
            np.empty((groups, SCOPE_COLUMNS), np.int32),
            np.zeros(WORK, np.int64),
        )

    def grow(self, most: int) -> None:
        """Twice the room of the table that was full. Raises `WindowTooLarge` when it has `most` bytes."""
        for name in TABLES[int(self.work[FULL_TABLE])]:
            table = getattr(self, name)
            if table.nbytes > most:
                raise WindowTooLarge
            larger = np.empty((2 * len(table), *table.shape[1:]), table.dtype)
            larger[: len(table)] = table
            setattr(self, name, larger)


@dataclass(frozen=True, slots=True)
class Scan:
    """What a scan found in the bodies of a window that were plain."""

    data: Any  # all bodies, one after the other
    room: Room  # filled
    outcome: Rows  # of each body: OK or APART, its spans, the bytes that its attributes make as maps
    kernels: Kernels

    def entries_of(self, spans: Rows) -> tuple[Rows, Rows]:
        """The entries of these spans, of each key the last, and how many each has."""
        room = self.room
        groups = room.spans[spans, GROUP]
        most = (
            room.spans[spans, LAST]
            - room.spans[spans, FIRST]
            + room.groups[groups, GROUP_LAST]
            - room.groups[groups, GROUP_FIRST]
        )
        found = np.empty(int(most.sum()), np.int32)
        counts = np.empty(len(spans), np.int64)
        marks = np.empty(int(room.work[KEYS]), np.int64)
        tables = (room.spans, room.groups, room.entries)
        total = self.kernels.merged(spans.astype(np.int64), *tables, marks, counts, found)
        return found[:total].astype(np.int64), counts

    def values(self, entries: Any) -> pa.StringArray:
        """The texts of rows (TYPE, AT, SIZE) of entries."""
        types, starts, sizes = np.ascontiguousarray(entries.T)
        return scan_texts.values(self.data, types, starts, sizes, self.kernels.copy)

    def keys(self) -> pa.StringArray:
        """The distinct keys by their code."""
        keys = self.room.work[DICTIONARY : DICTIONARY + 2 * self.room.work[KEYS]].astype(np.int32)
        return scan_texts.strings(self.data, keys[::2], keys[1::2], self.kernels.copy)


def scanned(bodies: Sequence[bytes], limits: DecodeLimits, kernels: Kernels) -> Scan:
    """Scan the bodies of a window, at least one. Raises `WindowTooLarge`."""
    data = b"".join((*FIRST_KEYS, *bodies))
    if len(data) > MOST_BYTES:
        raise WindowTooLarge
    ends = np.cumsum([sum(map(len, FIRST_KEYS)), *map(len, bodies)])
    size = len(data)
    room = Room.of(
        LEAST_ROOM + size // ENTRY_BYTES,
        LEAST_ROOM + size // SPAN_BYTES,
        LEAST_ROOM + len(bodies) + size // GROUP_BYTES,
    )
    at = 0
    for key in FIRST_KEYS:
        key_code(data, at, at + len(key), room.work)
        at += len(key)
    given = kernels.data(data)
    bounds = np.zeros(BOUNDS, np.int64)
    bounds[MOST_EVENTS], bounds[MOST_VALUES] = limits.events, limits.values
    bounds[MOST_EXPANDED], bounds[MOST_ATTRIBUTES] = limits.window_bytes, ATTRIBUTES
    bounds[MOST_KEY_BYTES], bounds[MOST_VALUE_BYTES] = KEY_BYTES, VALUE_BYTES
    bounds[MOST_DETAILS], bounds[MOST_OWN_BYTES] = SPAN_EVENTS, OWN_BYTES
    bounds[MOST_SCOPE_BYTES] = SCOPE_BYTES
    outcome = np.zeros((len(bodies), 3), np.int64)
    done = 0
    while done < len(bodies):
        tables = (room.entries, room.spans, room.times, room.ids, room.groups, room.scopes)
        done += kernels.scan(given, ends, outcome, done, *tables, room.work, bounds)
        if done < len(bodies):
            room.grow(limits.window_bytes)
    return Scan(given, room, outcome, kernels)

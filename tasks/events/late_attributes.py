"""The attributes of many events, and their details, made for those rows only that somebody takes.

Most events are counted and not kept, so most attributes are never read. What has to be known of all of them
(how many an event has, how long they are) is asked of whoever holds them, without maps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.events.details import Detailed, SpanDetails
from tasks.events.schema import ATTRIBUTES, EVENTS

Mask = NDArray[np.bool_]
Integers = NDArray[np.int64]
Details = Sequence[SpanDetails | None]


class AttributeSource(Protocol):
    """The attributes of consecutive events in the form in which they came; it never changes.

    An *entry* is a key and a value of one event. No key and no value is null.
    """

    def __len__(self) -> int:
        """Events, those without attributes included."""

    @property
    def nbytes(self) -> int:
        """Bytes of the maps of all events, or more: what bounds are kept with."""

    def take(self, rows: Integers) -> pa.MapArray:
        """The maps (as in EVENTS, values as text) of these events, in this order; any may come twice."""

    def values_of(self, key: str, among: Mask) -> tuple[Integers, pa.StringArray]:
        """Which of the events that the mask marks have an entry of this key, and each one's value as text,
        by event. An event comes once for each such entry.
        """

    def counts(self) -> Integers:
        """How many entries each event has; one of a key that came twice may count twice."""

    def oversized(self, key_bytes: int, value_bytes: int) -> Mask | None:
        """Which events have a key or a value (as text, UTF-8) above these sizes; None for no event."""

    def with_nul(self) -> Mask | None:
        """Which events have U+0000 in a key or a value (as text); None for no event."""

    def details(self, rows: Integers) -> Details:
        """The details of these events, in this order; any may come twice."""

    def exceptional(self) -> Mask | None:
        """Which events have a span event that tells of an exception; None for no event."""


@dataclass(frozen=True, slots=True)
class LateAttributes:
    """The attributes and the details of the events of a table: those at `rows` of the sources, one source
    after the other.
    """

    sources: Sequence[AttributeSource]
    rows: Integers | None = None  # of all sources together, each at most once; None = all, in order

    @classmethod
    def of(cls, column: pa.ChunkedArray, details: Details | None = None) -> Self:
        """The attributes of a column of EVENTS, and the details of its rows. A null map is an empty one."""
        return cls((MapAttributes(_in_one(column), details),))

    @classmethod
    def concat(cls, parts: Sequence["LateAttributes"]) -> Self:
        """The attributes of all these parts, one after the other; no event may be in two of them.

        Parts of the same sources, such as slices of a table, share them still.
        """
        if len(parts) == 1:
            return cls(parts[0].sources, parts[0].rows)
        sources: list[AttributeSource] = []
        firsts: dict[int, int] = {}  # by the id of the parts' sources: where these begin
        rows = [np.zeros(0, np.int64)]
        events = 0
        for part in parts:
            if id(part.sources) not in firsts:
                firsts[id(part.sources)] = events
                sources += part.sources
                events += int(part.ends()[-1])
            rows.append(firsts[id(part.sources)] + (np.arange(len(part)) if part.rows is None else part.rows))
        return cls(sources, np.concatenate(rows))

    def __len__(self) -> int:
        return int(self.ends()[-1]) if self.rows is None else len(self.rows)

    @property
    def nbytes(self) -> int:
        """Bytes of the maps of all events of the sources, or more."""
        return sum(source.nbytes for source in self.sources)

    def ends(self) -> Integers:
        """0, and of each source where it ends among the rows of all sources."""
        return np.cumsum([0, *map(len, self.sources)])

    def select(self, rows: Integers) -> Self:
        """The attributes of these events, in this order; none may come twice."""
        return replace(self, rows=rows if self.rows is None else self.rows[rows])

    def filter(self, mask: Mask) -> Self:
        """The attributes of the events where the mask is true."""
        return self if mask.all() else self.select(np.flatnonzero(mask))

    def maps(self) -> pa.MapArray:
        """The maps of all events."""
        return self.take(np.arange(len(self)))

    def take(self, rows: Integers) -> pa.MapArray:
        """The maps (as in EVENTS) of these events, in this order; any may come twice."""
        if self.rows is not None:
            rows = self.rows[rows]
        if len(self.sources) == 1:
            return self.sources[0].take(rows)
        ends = self.ends()
        source_of = np.searchsorted(ends, rows, side="right") - 1
        pieces = [EMPTY]
        for number in np.unique(source_of).tolist():
            pieces.append(self.sources[number].take(rows[source_of == number] - ends[number]))
        place = np.empty(len(rows), np.int64)
        place[np.argsort(source_of, kind="stable")] = np.arange(len(rows))
        return pa.concat_arrays(pieces).take(pa.array(place))

    def values_of(self, key: str, among: Mask) -> tuple[Integers, pa.StringArray]:
        """As `AttributeSource.values_of`; the events in any order."""
        ends, place = self.ends(), self.rows
        if place is not None:
            wanted = np.zeros(ends[-1], np.bool_)
            wanted[place[among]] = True
            among, place = wanted, np.empty(ends[-1], np.int64)
            place[self.rows] = np.arange(len(self))
        rows, values = [np.zeros(0, np.int64)], [pa.array([], pa.string())]
        for number, source in enumerate(self.sources):
            found, texts = source.values_of(key, among[ends[number] : ends[number + 1]])
            rows.append(found + ends[number])
            values.append(texts)
        together = np.concatenate(rows)
        return together if place is None else place[together], pa.concat_arrays(values)

    def counts(self) -> Integers:
        """How many entries each event has."""
        counts = np.concatenate([np.zeros(0, np.int64), *(source.counts() for source in self.sources)])
        return counts if self.rows is None else counts[self.rows]

    def oversized(self, key_bytes: int, value_bytes: int) -> Mask | None:
        """Which events have a key or a value (as text, UTF-8) above these sizes; None for no event."""
        return self._marked(lambda source: source.oversized(key_bytes, value_bytes))

    def with_nul(self) -> Mask | None:
        """Which events have U+0000 in a key or a value (as text); None for no event."""
        return self._marked(lambda source: source.with_nul())

    def details(self, rows: Integers) -> Details:
        """The details of these events, in this order; any may come twice."""
        if self.rows is not None:
            rows = self.rows[rows]
        if len(self.sources) == 1:
            return self.sources[0].details(rows)
        ends = self.ends()
        source_of = np.searchsorted(ends, rows, side="right") - 1
        found: list[SpanDetails | None] = [None] * len(rows)
        for number in np.unique(source_of).tolist():
            places = np.flatnonzero(source_of == number)
            made = self.sources[number].details(rows[places] - ends[number])
            for place, one in zip(places.tolist(), made, strict=True):
                found[place] = one
        return found

    def exceptional(self) -> Mask | None:
        """Which events have a span event that tells of an exception; None for no event."""
        return self._marked(lambda source: source.exceptional())

    def _marked(self, find: Callable[[AttributeSource], Mask | None]) -> Mask | None:
        masks = [find(source) for source in self.sources]
        if all(mask is None for mask in masks):
            return None
        found = [
            np.zeros(len(source), np.bool_) if mask is None else mask
            for source, mask in zip(self.sources, masks, strict=True)
        ]
        together = np.concatenate(found)
        return together if self.rows is None else together[self.rows]


@dataclass(frozen=True, slots=True)
class MapAttributes:
    """Attributes that came as maps: an array of EVENTS' type, in which a null map is an empty one.

    `detailed` has who makes the details of each event, None in it for an event without.
    """

    array: pa.MapArray
    detailed: Sequence[Detailed | None] | None = None  # None = no event has any

    def __len__(self) -> int:
        return len(self.array)

    @property
    def nbytes(self) -> int:
        """Bytes of the array."""
        return int(self.array.nbytes)

    def take(self, rows: Integers) -> pa.MapArray:
        """As `AttributeSource.take`; all rows in order are not copied."""
        if len(rows) == len(self) and (rows == np.arange(len(rows))).all():
            return self.array
        return self.array.take(pa.array(rows))

    def values_of(self, key: str, among: Mask) -> tuple[Integers, pa.StringArray]:
        """As `AttributeSource.values_of`."""
        offsets, keys, values = self._entries()
        places = np.flatnonzero(pc.equal(keys, key).to_numpy(zero_copy_only=False))
        owner = np.searchsorted(offsets, places, side="right") - 1
        wanted = (among & self._valid())[owner]
        return owner[wanted], values.take(pa.array(places[wanted]))

    def counts(self) -> Integers:
        """As `AttributeSource.counts`."""
        counts = np.diff(np.asarray(self.array.offsets)).astype(np.int64)
        return np.where(self._valid(), counts, 0) if self.array.null_count else counts

    def oversized(self, key_bytes: int, value_bytes: int) -> Mask | None:
        """As `AttributeSource.oversized`."""
        _, keys, values = self._entries()
        long = (np.asarray(pc.binary_length(keys)) > key_bytes) | (
            np.asarray(pc.binary_length(values)) > value_bytes
        )
        return self._rows_of(long) if long.any() else None

    def with_nul(self) -> Mask | None:
        """As `AttributeSource.with_nul`."""
        _, *entries = self._entries()
        if not any(map(holds_zero, entries)):
            return None
        found = [pc.match_substring(texts, "\0").to_numpy(zero_copy_only=False) for texts in entries]
        return self._rows_of(found[0] | found[1])

    def details(self, rows: Integers) -> Details:
        """As `AttributeSource.details`."""
        if self.detailed is None:
            return [None] * len(rows)
        makers = [self.detailed[row] for row in rows.tolist()]
        return [None if maker is None else maker.details() for maker in makers]

    def exceptional(self) -> Mask | None:
        """As `AttributeSource.exceptional`."""
        if self.detailed is None:
            return None
        return np.array([one is not None and one.exceptional for one in self.detailed], np.bool_)

    def _entries(self) -> tuple[Integers, pa.StringArray, pa.StringArray]:
        """Offsets from 0, and the keys and values between the first and the last of them."""
        offsets = np.asarray(self.array.offsets).astype(np.int64)
        first, length = int(offsets[0]), int(offsets[-1] - offsets[0])
        return offsets - first, self.array.keys.slice(first, length), self.array.items.slice(first, length)

    def _valid(self) -> Mask:
        return np.asarray(self.array.is_valid().to_numpy(zero_copy_only=False), np.bool_)

    def _rows_of(self, entries: Mask) -> Mask:
        offsets, _, _ = self._entries()
        marked = np.zeros(len(self), np.bool_)
        marked[np.searchsorted(offsets, np.flatnonzero(entries), side="right") - 1] = True
        return marked & self._valid()


EMPTY = pa.array([], EVENTS.field(ATTRIBUTES).type)


def _in_one(column: pa.ChunkedArray) -> pa.MapArray:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def holds_zero(texts: pa.StringArray) -> bool:
    """Whether the bytes of a string array have a zero among them; a quick no is what matters."""
    data = texts.buffers()[2]
    return data is not None and not np.frombuffer(data, np.uint8).all()

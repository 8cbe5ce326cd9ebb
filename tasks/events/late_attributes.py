"""The attributes of many events, and their details, made for those rows only that somebody takes.

Most events are counted and not kept, so most attributes are never read. What has to be known of all of them
(how many an event has, how long they are) is asked of whoever holds them, without maps.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pyarrow as pa

from tasks.events.attribute_source import AttributeSource, Details, Integers, Mask
from tasks.events.details import SpanDetails
from tasks.events.map_attributes import MapAttributes
from tasks.events.schema import ATTRIBUTES, EVENTS

EMPTY = pa.array([], EVENTS.field(ATTRIBUTES).type)


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

    def detail_sizes(self) -> Integers:
        """As `Detailed.size`, of each event; 0 for one without details."""
        rows = np.arange(len(self)) if self.rows is None else self.rows
        ends = self.ends()
        source_of = np.searchsorted(ends, rows, side="right") - 1
        sizes = np.zeros(len(rows), np.int64)
        for number in np.unique(source_of).tolist():
            own = source_of == number
            sizes[own] = self.sources[number].detail_sizes(rows[own] - ends[number])
        return sizes

    def details(self, rows: Integers) -> Details:
        """The details of these events, in this order; any may come twice."""
        return self._made(rows, lambda source, some: source.details(some))

    def exceptions(self, rows: Integers) -> Details:
        """As `AttributeSource.exceptions`."""
        return self._made(rows, lambda source, some: source.exceptions(some))

    def _made(self, rows: Integers, make: Callable[[AttributeSource, Integers], Details]) -> Details:
        if self.rows is not None:
            rows = self.rows[rows]
        if len(self.sources) == 1:
            return make(self.sources[0], rows)
        ends = self.ends()
        source_of = np.searchsorted(ends, rows, side="right") - 1
        found: list[SpanDetails | None] = [None] * len(rows)
        for number in np.unique(source_of).tolist():
            places = np.flatnonzero(source_of == number)
            made = make(self.sources[number], rows[places] - ends[number])
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


def _in_one(column: pa.ChunkedArray) -> pa.MapArray:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()

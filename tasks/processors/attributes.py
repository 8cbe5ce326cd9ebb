"""Attributes of many events as two flat arrays, keys and values, and the changes that wait for them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.events import LateAttributes, SpanDetails, in_runs

Mask = NDArray[np.bool_]
Details = Sequence[SpanDetails | None]


@dataclass(frozen=True, slots=True)
class Entries:
    """Event i has the entries from `offsets[i]` up to `offsets[i + 1]`; entry j is `keys[j]: values[j]`."""

    offsets: NDArray[np.int64]
    keys: pa.Array
    values: pa.Array

    @classmethod
    def of(cls, maps: pa.MapArray) -> Self:
        """The entries of a map array, which may be a slice of a larger one; a null map has none."""
        offsets = maps.offsets.to_numpy().astype(np.int64)
        first, length = int(offsets[0]), int(offsets[-1] - offsets[0])
        entries = cls(offsets - first, maps.keys.slice(first, length), maps.items.slice(first, length))
        if not maps.null_count:
            return entries
        # A null map may still cover entries.
        return entries.only(
            np.repeat(maps.is_valid().to_numpy(zero_copy_only=False), np.diff(entries.offsets))
        )

    def only(self, mask: Mask) -> Self:
        """Without the entries where the mask is false."""
        before = np.concatenate(([0], np.cumsum(mask)))
        chosen = pa.array(mask)
        return replace(
            self,
            offsets=before[self.offsets],
            keys=self.keys.filter(chosen),
            values=self.values.filter(chosen),
        )

    def owners(self) -> NDArray[np.int64]:
        """The event of each entry."""
        return np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))

    def maps(self, type_: pa.DataType) -> pa.MapArray:
        """The entries as maps of a given type."""
        return pa.MapArray.from_arrays(pa.array(self.offsets, pa.int32()), self.keys, self.values).cast(type_)


Found = tuple[NDArray[np.int64], pa.StringArray]  # events and a value of each; an event may come twice


class Change(Protocol):
    """What a step does to the attributes of events, done to those that somebody reads."""

    def entries(self, entries: Entries, where: Mask) -> Entries:
        """The entries after the change, which concerns the events where the mask is true."""

    def values(self, key: str, where: Mask, among: Mask, before: Callable[[str], Found]) -> Found:
        """The values of one key after the change, of the events `among` marks; `before` gives those of a key
        before it.
        """

    def details(self, details: Details) -> Details:
        """The details after the change, of events that it concerns; it makes new ones of what it changes."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """Late attributes with the changes that steps made to them, which wait until somebody reads them.

    Most events are never written, so what is changed in the few that are is a small part of the work.
    """

    late: LateAttributes
    changes: tuple[tuple[Change, Mask], ...] = ()  # each with the events that it concerns

    def only(self, mask: Mask) -> "Attributes":
        """The attributes of the events where the mask is true."""
        return Attributes(
            self.late.filter(mask), tuple((change, where[mask]) for change, where in self.changes)
        )

    def changed(self, change: Change, where: Mask) -> Self:
        """With one more change, to the events where the mask is true."""
        return replace(self, changes=(*self.changes, (change, where)))

    def read(self) -> Entries:
        """The entries after all changes."""
        entries = Entries.of(self.late.maps())
        for change, where in self.changes:
            entries = change.entries(entries, where)
        return entries

    def detail_columns(self, most_bytes: int) -> pa.Table:
        """The details after all changes, as columns. Raises `WindowTooLarge` as `in_runs` does."""
        return in_runs(
            self.late.detail_sizes(), lambda rows: self._changed(self.late.details(rows), rows), most_bytes
        )

    def exceptions(self) -> Details:
        """Of each event nothing but the first exception, after all changes."""
        rows = np.arange(len(self.late))
        return self._changed(self.late.exceptions(rows), rows)

    def _changed(self, details: Details, rows: NDArray[np.int64]) -> Details:
        for change, where in self.changes:
            details = _changed(details, change, where[rows])
        return details

    def values_of(self, key: str, among: Mask) -> Found:
        """The values of this key after all changes, of the events that the mask marks, in any order."""
        return self._values(len(self.changes), key, among)

    def _values(self, changes: int, key: str, among: Mask) -> Found:
        if changes == 0:
            return self.late.values_of(key, among)
        change, where = self.changes[changes - 1]
        return change.values(key, where, among, lambda before: self._values(changes - 1, before, among))


def _changed(details: Details, change: Change, where: Mask) -> Details:
    rows = [row for row in np.flatnonzero(where).tolist() if details[row] is not None]
    if not rows:
        return details
    changed = list(details)
    for row, one in zip(rows, change.details([details[row] for row in rows]), strict=True):
        changed[row] = one
    return changed


def with_key(entries: Entries, test: Callable[[pa.Array], pa.BooleanArray]) -> NDArray[np.int64]:
    """Places of the entries whose key passes; the test sees each distinct key once."""
    encoded = entries.keys.dictionary_encode()
    passing = test(encoded.dictionary).to_numpy(zero_copy_only=False)
    if not passing.any():
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(passing[encoded.indices.to_numpy()])

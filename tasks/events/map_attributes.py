"""Attributes that came as maps."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tasks.events.attribute_source import Details, Integers, Mask
from tasks.events.details import Detailed, first_exception


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

    def detail_sizes(self, rows: Integers) -> Integers:
        """As `AttributeSource.detail_sizes`."""
        makers = self._makers(rows)
        return np.array([0 if maker is None else maker.size for maker in makers], np.int64)

    def details(self, rows: Integers) -> Details:
        """As `AttributeSource.details`."""
        return [None if maker is None else maker.details() for maker in self._makers(rows)]

    def exceptions(self, rows: Integers) -> Details:
        """As `AttributeSource.exceptions`."""
        makers = self._makers(rows)
        return [None if maker is None else first_exception(maker.details()) for maker in makers]

    def exceptional(self) -> Mask | None:
        """As `AttributeSource.exceptional`."""
        if self.detailed is None:
            return None
        return np.array([one is not None and one.exceptional for one in self.detailed], np.bool_)

    def _makers(self, rows: Integers) -> Sequence[Detailed | None]:
        if self.detailed is None:
            return [None] * len(rows)
        return [self.detailed[row] for row in rows.tolist()]

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


def holds_zero(texts: pa.StringArray) -> bool:
    """Whether the bytes of a string array have a zero among them; a quick no is what matters."""
    data = texts.buffers()[2]
    return data is not None and not np.frombuffer(data, np.uint8).all()

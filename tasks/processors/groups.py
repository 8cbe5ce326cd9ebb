"""Rows that belong together, and what their numbers add up to."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from tasks.processors.names import Names

Integers = NDArray[np.int64]
MAX_INT64 = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Groups:
    """Row i is in the group `codes[i]` of `count` groups, none of them empty."""

    codes: NDArray[np.int32]
    count: int

    @classmethod
    def of(cls, parts: Sequence[tuple[Integers, int]]) -> Self:
        """The groups of rows with equal keys, in the order of their keys, which are given as to `packed`."""
        encoded = pa.array(packed(parts)).dictionary_encode()
        order = np.argsort(encoded.dictionary.to_numpy())
        rank = np.empty(len(order), dtype=np.int32)
        rank[order] = np.arange(len(order), dtype=np.int32)
        return cls(rank[encoded.indices.to_numpy()], len(order))

    def least(self, numbers: Integers) -> Integers:
        """Of each group the smallest number."""
        least = np.full(self.count, MAX_INT64)
        np.minimum.at(least, self.codes, numbers)
        return least

    def most(self, numbers: Integers) -> Integers:
        """Of each group the largest number."""
        most = np.full(self.count, -MAX_INT64)
        np.maximum.at(most, self.codes, numbers)
        return most

    def sums(self, numbers: Integers) -> Integers:
        """Of each group the sum of numbers ≥ 0, which stops at the largest int64 rather than wrap."""
        if not len(numbers) or int(numbers.max()) <= MAX_INT64 // len(numbers):
            return self._exact_sums(numbers)
        high, low = self._exact_sums(numbers >> 32), self._exact_sums(numbers & 0xFFFFFFFF)
        high, low = high + (low >> 32), low & 0xFFFFFFFF
        return np.where(high < 2**31, (high << 32) + low, MAX_INT64)

    def _exact_sums(self, numbers: Integers) -> Integers:
        sums = np.zeros(self.count, dtype=np.int64)
        np.add.at(sums, self.codes, numbers)
        return sums

    def any_row(self) -> Integers:
        """Of each group one of its rows."""
        rows = np.empty(self.count, dtype=np.int64)
        rows[self.codes] = np.arange(len(self.codes))
        return rows

    def largest(self, strings: pa.Array) -> pa.Array:
        """Of each group the largest string, byte by byte; null for a group that has only nulls."""
        if strings.null_count == len(strings):
            return pa.nulls(self.count, pa.string())
        known = strings.is_valid().to_numpy(zero_copy_only=False)
        encoded = strings.drop_null().dictionary_encode()
        rank, _ = Names(encoded.indices.to_numpy(), encoded.dictionary).ranked()
        largest = np.full(self.count, -1)
        np.maximum.at(largest, self.codes[known], rank)
        return encoded.dictionary.sort().take(pa.array(largest, mask=largest < 0))

    def smallest(self, table: pa.Table, rows: Integers, columns: Sequence[str]) -> dict[str, pa.ChunkedArray]:
        """Of each group the smallest table row by these columns in turn, column by column.

        `rows` says which rows of the groups the table's rows are; nulls for a group that has none of them.
        """
        if not len(rows):
            return {name: pa.chunked_array([pa.nulls(self.count, table[name].type)]) for name in columns}
        group = self.codes[rows]
        keyed = table.append_column("group", pa.array(group))
        order = pc.sort_indices(
            keyed, sort_keys=[(name, "ascending") for name in ("group", *columns)]
        ).to_numpy()
        groups, first = np.unique(group[order], return_index=True)
        smallest = np.full(self.count, -1)
        smallest[groups] = order[first]
        chosen = pa.array(smallest, mask=smallest < 0)
        return {name: table[name].take(chosen) for name in columns}


def packed(parts: Sequence[tuple[Integers, int]]) -> Integers:
    """One integer a row that sorts like its parts do, each given as codes and how many there can be."""
    key, size = parts[0]
    for codes, codes_size in parts[1:]:
        if size * codes_size > MAX_INT64:
            distinct, key = np.unique(key, return_inverse=True)
            size = len(distinct)
        key, size = key * codes_size + codes, size * codes_size
    return key

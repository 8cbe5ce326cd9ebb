"""A column of few distinct strings, worked on word by word instead of row by row."""

from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Names:
    """Row i has the string `words[codes[i]]`; no word is in `words` twice, some may have no row any more."""

    codes: NDArray[np.int32]
    words: pa.Array

    @classmethod
    def of(cls, column: pa.ChunkedArray) -> Self:
        """The names in a string column without nulls."""
        encoded = in_one(column).dictionary_encode()
        return cls(encoded.indices.to_numpy(), encoded.dictionary)

    def only(self, mask: NDArray[np.bool_]) -> Self:
        """The names of the rows where the mask is true."""
        return replace(self, codes=self.codes[mask])

    def at(self, rows: NDArray[np.int64]) -> Self:
        """The names of the rows at these places."""
        return replace(self, codes=self.codes[rows])

    def reworded(self, words: pa.Array) -> Self:
        """The same rows with each word replaced by the one at its place; two words may have become one."""
        encoded = words.dictionary_encode()
        return replace(self, codes=encoded.indices.to_numpy()[self.codes], words=encoded.dictionary)

    def but(self, mask: NDArray[np.bool_], word: str) -> Self:
        """The names with another word for the rows where the mask is true."""
        codes = np.where(mask, len(self.words), self.codes).astype(np.int32)
        words = pa.concat_arrays([self.words, pa.array([word], pa.string())])
        return replace(self, codes=codes).reworded(words)

    def where(self, words_mask: pa.BooleanArray) -> NDArray[np.bool_]:
        """The rows whose word is at a true place of the mask."""
        chosen: NDArray[np.bool_] = words_mask.to_numpy(zero_copy_only=False)[self.codes]
        return chosen

    def ranked(self) -> tuple[NDArray[np.int64], int]:
        """Codes that sort like the words do, byte by byte, and how many words there are."""
        order = pc.sort_indices(self.words).to_numpy()
        rank = np.empty(len(order), dtype=np.int64)
        rank[order] = np.arange(len(order))
        return rank[self.codes], len(order)

    def take(self, rows: NDArray[np.int64]) -> pa.Array:
        """The strings of the rows at these places."""
        return self.words.take(pa.array(self.codes[rows]))

    def column(self) -> pa.Array:
        """The strings of all rows."""
        return self.words.take(pa.array(self.codes))


def in_one(column: pa.ChunkedArray) -> pa.Array:
    """A column as one array, not copied when it is one already."""
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()

"""Which rows are of which window: the events of several go through a pipeline in one pass."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Windows:
    """Row i is of window `of_row[i]` of `count`; some may have no row. Rows lie in the order of windows."""

    of_row: NDArray[np.int64]
    count: int

    @classmethod
    def of(cls, sizes: Sequence[int]) -> Self:
        """Windows of so many rows each, one after the other."""
        return cls(np.repeat(np.arange(len(sizes)), sizes), len(sizes))

    def only(self, mask: NDArray[np.bool_]) -> Self:
        """The windows of the rows where the mask is true."""
        return replace(self, of_row=self.of_row[mask])

    def take(self, rows: NDArray[np.int64]) -> Self:
        """The windows of the rows at these places, which are given in the order of windows."""
        return replace(self, of_row=self.of_row[rows])

    def sizes(self) -> NDArray[np.int64]:
        """How many rows each window has."""
        return np.bincount(self.of_row, minlength=self.count)

    def parts(self, table: pa.Table) -> list[pa.Table]:
        """Each window's part of a table of these rows."""
        if self.count == 1:
            return [table]
        sizes = self.sizes()
        firsts = np.cumsum(sizes) - sizes
        return [table.slice(*part) for part in zip(firsts.tolist(), sizes.tolist(), strict=True)]

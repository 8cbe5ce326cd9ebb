"""Histograms of many rows as columns: {"<bucket>": count, …} as JSON text, and the long form that merges."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

Integers = NDArray[np.int64]
_BUCKETS = 1 << 16
_BARE = str.maketrans(":", ",", '{}" ')


@dataclass(frozen=True, slots=True)
class Histograms:
    """One entry a row and bucket: `row` and `bucket` say where `count` belongs. Buckets are 0 to 65,535."""

    row: Integers
    bucket: Integers
    count: Integers

    def plus(self, other: "Histograms") -> "Histograms":
        return Histograms(
            np.concatenate([self.row, other.row]),
            np.concatenate([self.bucket, other.bucket]),
            np.concatenate([self.count, other.count]),
        )

    def written(self, rows: int) -> pa.Array:
        """The JSON text of rows 0 to `rows` - 1, buckets in order; counts of the same bucket are added."""
        place, where = np.unique(self.row * _BUCKETS + self.bucket, return_inverse=True)
        count = np.zeros(len(place), dtype=np.int64)
        np.add.at(count, where, self.count)
        bucket = pa.array(place % _BUCKETS).cast(pa.string())
        entries = pc.binary_join_element_wise('"', bucket, '":', pa.array(count).cast(pa.string()), "")
        offsets = np.searchsorted(place // _BUCKETS, np.arange(rows + 1)).astype(np.int32)
        joined = pc.binary_join(pa.ListArray.from_arrays(offsets, entries), ",")
        return pc.binary_join_element_wise("{", joined, "}", "")


def read(rows: Integers, texts: Sequence[str]) -> Histograms:
    """The long form of the histograms written as `texts`, each belonging to the row beside it."""
    entries = [text.count(":") for text in texts]
    bare = ",".join(texts).translate(_BARE)  # bucket,count,bucket,count,…
    numbers = np.fromstring(bare, dtype=np.int64, sep=",").reshape(-1, 2)
    return Histograms(np.repeat(rows, entries), numbers[:, 0], numbers[:, 1])

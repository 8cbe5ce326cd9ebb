"""What goes into the decoders and what comes out. A bad event is a value, a bad batch an `UnfitBatch`."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from operator import attrgetter
from typing import Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.decoders.reasons import RejectReason, UnfitReason

MIB = 1024 * 1024


DETAIL = 200  # characters of what a parser says; agents choose the names of columns and fields in it


class UnfitBatch(Exception):
    """The batch can never be decoded: keep it with its reason, never retry."""

    def __init__(self, reason: UnfitReason, detail: str) -> None:
        super().__init__(reason, detail[:DETAIL])
        self.reason = reason
        self.detail = detail[:DETAIL]


@dataclass(frozen=True, slots=True, kw_only=True)
class RawBatch:
    """One batch as its agent sent it."""

    body: bytes | memoryview
    format: str
    content_encoding: str  # "" = identity
    accepted_at_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodeLimits:
    """Bounds of one call of `decode_batches`."""

    decompressed_bytes: int = 64 * MIB  # of one batch
    ratio: int = 1_000  # bytes out for a byte in
    ratio_floor: int = (
        MIB  # bytes out below which the ratio means nothing: an empty table compresses well too
    )
    window_bytes: int = 256 * MIB  # of all batches: decompressed, and again as tables
    events: int = 500_000  # of one batch
    values: int = 3_000_000  # of one batch: JSON values and attributes, each of which costs an object
    rejects: int = 1_000  # of one batch
    reject_bytes: int = MIB  # of one batch


@dataclass(frozen=True, slots=True, kw_only=True)
class BadRow:
    """An event of one batch that its decoder could not read. ``data`` is its line of JSON."""

    row: int
    reason: RejectReason
    detail: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What one decoder made of one batch.

    ``table`` has the columns of `tasks.events.EVENTS` (any of them may hold nulls and impossible values);
    ``rows`` says where in the batch each of its rows was, None = in order and all of them there.
    """

    table: pa.Table
    rejects: Sequence[BadRow] = ()
    rows: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, table: pa.Table, bad: Sequence[BadRow]) -> Self:
        """``table`` without its ``bad`` rows."""
        if not bad:
            return cls(table=table)
        good = np.ones(table.num_rows, np.bool_)
        good[[row.row for row in bad]] = False
        return cls(table=table.filter(pa.array(good)), rejects=bad, rows=good.nonzero()[0])

    def moved(self, places: Sequence[int], bad: Sequence[BadRow]) -> Self:
        """The same when row ``i`` was really at ``places[i]`` and ``bad`` were in between."""
        there = np.asarray(places, np.int64)
        rejects = [replace(row, row=places[row.row]) for row in self.rejects]
        return replace(
            self,
            rejects=sorted([*rejects, *bad], key=attrgetter("row")),
            rows=there if self.rows is None else there[self.rows],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """One event that does not fit: ``row`` (from 0) of batch ``batch`` (index into the call's batches)."""

    batch: int
    row: int
    reason: RejectReason
    detail: str
    data: bytes  # a line of JSON that can be posted again; the sent bytes when they could not be read


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedBatches:
    """The good events of all batches in order (EVENTS), ``counts[i]`` of them from batch ``i``."""

    events: pa.Table
    counts: list[int]
    rejects: list[Reject] = field(default_factory=list)
    unfit: dict[int, UnfitBatch] = field(default_factory=dict)

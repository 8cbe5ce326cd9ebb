"""What goes into the decoders and what comes out. A bad event is a value, a bad batch an `UnfitBatch`."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import compress
from operator import attrgetter
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.decoders.reasons import RejectReason, UnfitReason
from tasks.errors import WindowTooLarge
from tasks.events import Detailed, EventTable, LateAttributes

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
    """The event at `row` of one batch, which its decoder could not read."""

    row: int
    reason: RejectReason
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What one decoder made of one batch.

    `table` has the columns of `tasks.events.EVENTS` (any of them may hold nulls and impossible values);
    `rows` says where in the batch each of its rows was, None = in order and all of them there; `lent` how
    many of each row's attributes are not its own but its resource's, None = none of any; `detailed` who makes
    the details of each row, None = no row has any; `shared_bytes` the bytes of details that events share with
    others, once for each of them.
    """

    table: pa.Table
    rejects: Sequence[BadRow] = ()
    rows: NDArray[np.int64] | None = None
    lent: NDArray[np.int64] | None = None
    detailed: Sequence[Detailed | None] | None = None
    shared_bytes: int = 0

    @classmethod
    def of(
        cls,
        table: pa.Table,
        bad: Sequence[BadRow],
        lent: NDArray[np.int64] | None = None,
        detailed: Sequence[Detailed | None] | None = None,
    ) -> Self:
        """`table` without its `bad` rows."""
        if not bad:
            return cls(table=table, lent=lent, detailed=detailed)
        good = np.ones(table.num_rows, np.bool_)
        good[[row.row for row in bad]] = False
        return cls(
            table=table.filter(pa.array(good)),
            rejects=bad,
            rows=good.nonzero()[0],
            lent=None if lent is None else lent[good],
            detailed=detailed and list(compress(detailed, good)),
        )

    def moved(self, places: Sequence[int], bad: Sequence[BadRow]) -> Self:
        """The same when row `i` was really at `places[i]` and `bad` were in between."""
        there = np.asarray(places, np.int64)
        rejects = [replace(row, row=places[row.row]) for row in self.rejects]
        return replace(
            self,
            rejects=sorted([*rejects, *bad], key=attrgetter("row")),
            rows=there if self.rows is None else there[self.rows],
        )


class WindowBody(NamedTuple):
    """A batch's body without its content encoding, and which of its window's batches it is."""

    batch: int
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRead:
    """Log records of a window's batches: a table of `tasks.events.LOGS`, the index of each row's batch,
    ascending, and where in its batch each row was.
    """

    table: pa.Table
    batch_of: NDArray[np.int64]
    places: NDArray[np.int64]

    def filter(self, mask: NDArray[np.bool_]) -> Self:
        """The records where the mask is true."""
        if mask.all():
            return self
        return replace(
            self,
            table=self.table.filter(pa.array(mask)),
            batch_of=self.batch_of[mask],
            places=self.places[mask],
        )

    def of_batches(self, first: int, end: int) -> Self | None:
        """Those of the batches from `first` up to `end`, which then count from 0; None for none."""
        row, after = np.searchsorted(self.batch_of, (first, end)).tolist()
        if row == after:
            return None
        return replace(
            self,
            table=self.table.slice(row, after - row),
            batch_of=self.batch_of[row:after] - first,
            places=self.places[row:after],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowRead:
    """What one decoder, or all of them, made of a window's batches.

    `table` has the columns of `tasks.events.COLUMNS` (nulls and impossible values as in `Read`), `attributes`
    those of its rows; `lent` as of `Read`; all of them the rows of all batches in the order of these;
    `batch_of` the index of each row's batch, ascending; `places` where in its batch each row was, None = in
    order and all of them there, in each batch. A batch is in `unfit` or has rows and `rejects`, and of these
    it may have none. `logs` are the log records of batches that hold such, None where no batch is one.
    """

    table: pa.Table
    attributes: LateAttributes
    batch_of: NDArray[np.int64]
    places: NDArray[np.int64] | None = None
    lent: NDArray[np.int64] | None = None
    rejects: Mapping[int, Sequence[BadRow]] = field(default_factory=dict)
    unfit: Mapping[int, UnfitBatch] = field(default_factory=dict)
    logs: LogRead | None = None


class Allowance:
    """The bytes that the batches of one window may still take together."""

    def __init__(self, most: int, batches: int) -> None:
        self._most = self._left = most
        self._batches = batches

    def take(self, size: int) -> None:
        """Raises, when that is more than is left, `WindowTooLarge` for a window that can be split,
        and `UnfitBatch` (too_large) for the one batch of its window.
        """
        self._left -= size
        if self._left < 0:
            if self._batches > 1:
                raise WindowTooLarge
            raise UnfitBatch(UnfitReason.TOO_LARGE, f"decodes to more than {self._most} bytes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Format:
    """How bodies of one format, without content encoding, are read.

    `read` raises `UnfitBatch`. `read_window` takes bodies, the batches ascending, gives of each what `read`
    would, and takes its table's bytes of the allowance; it raises what that raises. `pick` takes a body that
    `read` has read, and rows of it as `read` counts them (ascending, each once); it gives for each a body of
    the same format that holds this event alone, of the bytes that were sent. It is called for rejects only,
    so it may cost another look at the body, but gives them one by one: whoever has enough stops asking.
    """

    read: Callable[[bytes, DecodeLimits], Read]
    read_window: Callable[[Sequence[WindowBody], DecodeLimits, Allowance], WindowRead]
    pick: Callable[[bytes, Sequence[int]], Iterator[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reject:
    """One event that does not fit: `row` (from 0) of batch `batch` (index into the call's batches)."""

    batch: int
    row: int
    reason: RejectReason
    detail: str
    format: str  # the batch's own
    data: bytes  # the event as it was sent: a body of `format`, not compressed, that holds only this event


@dataclass(frozen=True, slots=True, kw_only=True)
class DecodedBatches:
    """The good events of all batches in order, `counts[i]` of them from batch `i`; and the good log records,
    None where no batch holds such.
    """

    good: EventTable
    counts: list[int]
    rejects: list[Reject] = field(default_factory=list)
    unfit: dict[int, UnfitBatch] = field(default_factory=dict)
    logs: LogRead | None = None

    def good_of(self, batch: int) -> int:
        """How many events, or log records, of a batch are good."""
        if self.logs is None:
            return self.counts[batch]
        first, end = np.searchsorted(self.logs.batch_of, (batch, batch + 1)).tolist()
        return self.counts[batch] + int(end - first)

    @property
    def found(self) -> int:
        """Events and log records of all batches: good ones and rejects."""
        logs = 0 if self.logs is None else len(self.logs.batch_of)
        return sum(self.counts) + logs + len(self.rejects)

    @property
    def nbytes(self) -> int:
        """Bytes of the tables, those included of maps that nobody has made yet."""
        return self.good.nbytes + (0 if self.logs is None else int(self.logs.table.nbytes))

    @property
    def events(self) -> pa.Table:
        """The good events as a table of EVENTS: this makes the map of every event's attributes."""
        return self.good.table()

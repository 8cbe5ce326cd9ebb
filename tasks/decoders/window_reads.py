"""What decoders made of single batches, or of those of one format, put together as a window's."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.decoders.attributes import compact
from tasks.decoders.contract import (
    Allowance,
    BadRow,
    DecodeLimits,
    LogRead,
    Read,
    UnfitBatch,
    WindowBody,
    WindowRead,
)
from tasks.events import ATTRIBUTES, COLUMNS, NO_EVENTS, Detailed, LateAttributes, MapAttributes

Rows = NDArray[np.int64]
One = TypeVar("One")
Done = TypeVar("Done")


def by_batch(
    read: Callable[[bytes, DecodeLimits], Read],
) -> Callable[[Sequence[WindowBody], DecodeLimits, Allowance], WindowRead]:
    """A `Format.read_window` that reads one batch after the other."""

    def read_window(bodies: Sequence[WindowBody], limits: DecodeLimits, allowance: Allowance) -> WindowRead:
        reads: dict[int, Read] = {}
        unfit: dict[int, UnfitBatch] = {}
        for index, data in bodies:
            try:
                one = read(data, limits)
                allowance.take(one.table.nbytes + one.shared_bytes)
                reads[index] = one
            except UnfitBatch as error:
                unfit[index] = error
        return _together(reads, unfit)

    return read_window


def merged(parts: Sequence[WindowRead]) -> WindowRead:
    """All of them as one; no batch may be in two of them."""
    unfit = {index: error for part in parts for index, error in part.unfit.items()}
    rejects = {index: bad for part in parts for index, bad in part.rejects.items()}
    logs = merged_logs([part.logs for part in parts if part.logs is not None])
    filled = [part for part in parts if len(part.batch_of)]
    if not filled:
        return replace(nothing(rejects, unfit), logs=logs)
    table, attributes = filled[0].table, filled[0].attributes
    batch_of, places, lent = filled[0].batch_of, filled[0].places, filled[0].lent
    if len(filled) > 1:
        batch_of = np.concatenate([part.batch_of for part in filled])
        order = np.argsort(batch_of, kind="stable")
        table = pa.concat_tables([part.table for part in filled]).combine_chunks().take(pa.array(order))
        attributes = LateAttributes.concat([part.attributes for part in filled]).select(order)
        batch_of = batch_of[order]
        places = _joined(places_of(part) if part.places is None else part.places for part in filled)[order]
        if any(part.lent is not None for part in filled):
            lent = _joined(_none(len(part.batch_of)) if part.lent is None else part.lent for part in filled)
            lent = lent[order]
    return WindowRead(
        table=table,
        attributes=attributes,
        batch_of=batch_of,
        places=places,
        lent=lent,
        rejects=rejects,
        unfit=unfit,
        logs=logs,
    )


def merged_logs(parts: Sequence[LogRead]) -> LogRead | None:
    """All of them as one, None for none; no batch may be in two of them."""
    if len(parts) <= 1:
        return parts[0] if parts else None
    batch_of = _joined(part.batch_of for part in parts)
    order = np.argsort(batch_of, kind="stable")
    return LogRead(
        table=pa.concat_tables([part.table for part in parts]).combine_chunks().take(pa.array(order)),
        batch_of=batch_of[order],
        places=_joined(part.places for part in parts)[order],
    )


def nothing(rejects: Mapping[int, Sequence[BadRow]], unfit: Mapping[int, UnfitBatch]) -> WindowRead:
    """What is made of batches without good rows."""
    return WindowRead(
        table=NO_EVENTS.select(COLUMNS.names),
        attributes=LateAttributes(()),
        batch_of=_none(0),
        rejects=rejects,
        unfit=unfit,
    )


def split_off(
    table: pa.Table, detailed: Sequence[Detailed | None] | None = None
) -> tuple[pa.Table, LateAttributes]:
    """A table of EVENTS as its other columns and its attributes less nulls; `detailed` as in `Read`."""
    maps = table[ATTRIBUTES].combine_chunks()
    if maps.null_count or maps.items.null_count:
        maps = compact(maps)
    return table.select(COLUMNS.names), LateAttributes((MapAttributes(maps, detailed),))


def in_halves(
    some: Sequence[One], whole: Callable[[Sequence[One]], Done | None]
) -> Iterator[tuple[Sequence[One], Done | None]]:
    """`whole` of all, or where it gives None, of the halves of which it gives something; None for what has to
    be done one by one.
    """
    done = whole(some)
    if done is not None or len(some) <= 1:
        yield some, done
        return
    middle = len(some) // 2
    yield from in_halves(some[:middle], whole)
    yield from in_halves(some[middle:], whole)


def places_of(part: WindowRead) -> Rows:
    """Where in its batch each row is, when all of them are there."""
    rows = len(part.batch_of)
    return np.arange(rows) - np.searchsorted(part.batch_of, part.batch_of)


def read_of(parts: Sequence[tuple[Read, Rows]]) -> WindowRead:
    """Reads of some batches each, without rejects, and the batch of each of their rows, all ascending."""
    return _window([read for read, _ in parts], _joined([_none(0), *(batch_of for _, batch_of in parts)]))


def _together(reads: dict[int, Read], unfit: dict[int, UnfitBatch]) -> WindowRead:
    sizes = [one.table.num_rows for one in reads.values()]
    made = _window(list(reads.values()), np.repeat(np.fromiter(reads, np.int64, len(reads)), sizes))
    places = None
    if any(one.rows is not None for one in reads.values()):
        places = _joined(
            np.arange(size) if one.rows is None else one.rows
            for one, size in zip(reads.values(), sizes, strict=True)
        )
    rejects = {index: one.rejects for index, one in reads.items() if one.rejects}
    return replace(made, places=places, rejects=rejects, unfit=unfit)


def _window(reads: Sequence[Read], batch_of: Rows) -> WindowRead:
    """The rows of all, as if they were all of their batches' rows."""
    lent = None
    if any(one.lent is not None for one in reads):
        lent = _joined(_none(one.table.num_rows) if one.lent is None else one.lent for one in reads)
    detailed: list[Detailed | None] | None = None
    if any(one.detailed is not None for one in reads):
        detailed = [each for one in reads for each in one.detailed or [None] * one.table.num_rows]
    table, attributes = split_off(pa.concat_tables([NO_EVENTS, *(one.table for one in reads)]), detailed)
    return WindowRead(table=table, attributes=attributes, batch_of=batch_of, lent=lent)


def _joined(parts: Any) -> Rows:
    return np.concatenate(list(parts))


def _none(rows: int) -> Rows:
    return np.zeros(rows, np.int64)

"""Formats whose bodies are parsed one by one, but made columns of together."""

from collections.abc import Callable, Iterator, Sequence
from itertools import compress
from typing import Final, TypeVar

import msgspec
import numpy as np
import pyarrow as pa

from tasks.decoders.contract import Allowance, DecodeLimits, Read, UnfitBatch, WindowBody, WindowRead
from tasks.decoders.window_reads import Rows, by_batch, in_halves, merged, read_of

TOGETHER: Final = 2_048
"""Events that columns are made of at once. The calls cost as much as some hundred events do. So many events,
and those of one body, are Python's objects at the same time."""
Unusual: Final = (UnfitBatch, msgspec.DecodeError, UnicodeDecodeError, RecursionError)
Parsed = TypeVar("Parsed")


def by_runs(
    read: Callable[[bytes, DecodeLimits], Read],
    parse: Callable[[bytes, DecodeLimits], tuple[int, Parsed]],
    together: Callable[[Sequence[Parsed], DecodeLimits], Read],
) -> Callable[[Sequence[WindowBody], DecodeLimits, Allowance], WindowRead]:
    """A `Format.read_window`: `parse` gives how many events a body has, and these; `together` reads those of
    several bodies.

    Both raise what is in `Unusual` for what is not as it usually is. Such bodies are left to `read`, and so
    are those with an event that can't be read.
    """
    read_alone = by_batch(read)

    def read_window(bodies: Sequence[WindowBody], limits: DecodeLimits, allowance: Allowance) -> WindowRead:
        if len(bodies) == 1:
            return read_alone(bodies, limits, allowance)
        alone: list[WindowBody] = []

        def parsed() -> Iterator[tuple[WindowBody, int, Parsed]]:
            for body in bodies:
                try:
                    yield body, *parse(body.data, limits)
                except Unusual:
                    alone.append(body)

        def whole(some: Sequence[tuple[WindowBody, int, Parsed]]) -> tuple[Read, Rows, set[int]] | None:
            try:
                made = together([one for _, _, one in some], limits)
            except Unusual:
                return None
            sizes = [size for _, size, _ in some]
            return _without_spoilt(made, np.repeat([body.batch for body, _, _ in some], sizes))

        reads: list[tuple[Read, Rows]] = []
        for run in _runs(parsed()):
            for some, done in in_halves(run, whole):
                if done is not None:
                    allowance.take(done[0].table.nbytes + done[0].shared_bytes)
                    reads.append(done[:2])
                alone += [body for body, _, _ in some if done is None or body.batch in done[2]]
        return merged([read_of(reads), read_alone(sorted(alone), limits, allowance)])

    return read_window


def _runs(
    bodies: Iterator[tuple[WindowBody, int, Parsed]],
) -> Iterator[list[tuple[WindowBody, int, Parsed]]]:
    run: list[tuple[WindowBody, int, Parsed]] = []
    events = 0
    for one in bodies:
        run.append(one)
        events += one[1]
        if events >= TOGETHER:
            yield run
            run, events = [], 0
    if run:
        yield run


def _without_spoilt(made: Read, batch_of: Rows) -> tuple[Read, Rows, set[int]]:
    """The rows of batches that have no rejects, the batch of each, and which batches have some."""
    if not made.rejects:
        return made, batch_of, set()
    spoilt = set(batch_of[[bad.row for bad in made.rejects]].tolist())
    left = batch_of if made.rows is None else batch_of[made.rows]
    good = ~np.isin(left, list(spoilt))
    lent = None if made.lent is None else made.lent[good]
    detailed = made.detailed and list(compress(made.detailed, good))
    whole = Read(
        table=made.table.filter(pa.array(good)),
        lent=lent,
        detailed=detailed,
        shared_bytes=made.shared_bytes,  # those of the spoilt, too
    )
    return whole, left[good], spoilt

"""All batches of a window in, one table of good events out."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from operator import attrgetter
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.decoders import ndjson
from tasks.decoders.arrow import ipc_stream
from tasks.decoders.contract import (
    BadRow,
    DecodedBatches,
    DecodeLimits,
    Format,
    RawBatch,
    Read,
    Reject,
    UnfitBatch,
)
from tasks.decoders.decompress import decompress
from tasks.decoders.otlp import json_export, protobuf_export
from tasks.decoders.reasons import UnfitReason
from tasks.decoders.rows import bound_rejects
from tasks.decoders.validate import Check, checks, normalised
from tasks.errors import WindowTooLarge
from tasks.events import EVENTS

FORMATS: Final[Mapping[str, Format]] = {
    "arrow": Format(read=ipc_stream.read, pick=ipc_stream.pick),
    "ndjson": Format(read=ndjson.read_lines, pick=ndjson.pick_lines),
    "json": Format(read=ndjson.read_array, pick=ndjson.pick_elements),
    "otlp-protobuf": Format(read=protobuf_export.read, pick=protobuf_export.pick),
    "otlp-json": Format(read=json_export.read, pick=json_export.pick),
}


def decode_batches(batches: Sequence[RawBatch], limits: DecodeLimits) -> DecodedBatches:
    """Decode and validate `batches`: each ends as good events, rejects, or one entry of `unfit`.

    Raises `WindowTooLarge` when several batches together pass `limits.window_bytes`.
    """
    reads, unfit = _read_all(batches, limits)
    if not reads:
        return DecodedBatches(events=EVENTS.empty_table(), counts=[0] * len(batches), unfit=unfit)
    table = normalised(pa.concat_tables([read.table for read in reads.values()]))
    sizes = [read.table.num_rows for read in reads.values()]
    batch_of = np.repeat(np.fromiter(reads, np.int64, len(reads)), sizes)
    accepted = np.array([batch.accepted_at_us for batch in batches], np.int64)
    found = list(checks(table, accepted[batch_of], _lent(list(reads.values()))))
    first = _first(found, table.num_rows)
    rejects: list[Reject] = []
    end = 0
    for (index, read), size in zip(reads.items(), sizes, strict=True):
        start, end = end, end + size
        try:
            rejects += _rejects(index, batches[index], read, first[start:end], found, limits)
        except UnfitBatch as error:
            unfit[index] = error
    good = (first < 0) & ~np.isin(batch_of, list(unfit))
    return DecodedBatches(
        events=table if good.all() else table.filter(pa.array(good)),
        counts=np.bincount(batch_of[good], minlength=len(batches)).tolist(),
        rejects=rejects,
        unfit=dict(sorted(unfit.items())),
    )


def events_at(batch: RawBatch, rows: Sequence[int], limits: DecodeLimits) -> Iterator[tuple[int, bytes]]:
    """Those of `rows` (ascending, each once) that the batch has, and each one's event as `Reject.data` is.

    The batch is decoded once, when the first is asked for: that raises `UnfitBatch`.
    """
    data = _decompressed(batch, limits)
    form = _format(batch.format)
    form.read(data, limits)  # who picks relies on it
    with suppress(IndexError):  # nor does the batch have any row after that one
        yield from zip(rows, form.pick(data, rows), strict=False)


def _lent(reads: Sequence[Read]) -> NDArray[np.int64] | None:
    if all(read.lent is None for read in reads):
        return None
    each = (np.zeros(read.table.num_rows, np.int64) if read.lent is None else read.lent for read in reads)
    return np.concatenate(list(each))


def _read_all(
    batches: Sequence[RawBatch], limits: DecodeLimits
) -> tuple[dict[int, Read], dict[int, UnfitBatch]]:
    reads: dict[int, Read] = {}
    unfit: dict[int, UnfitBatch] = {}
    decompressed = tabled = 0
    for index, batch in enumerate(batches):
        try:
            data = _decompressed(batch, limits)
            decompressed += len(data)
            _bound(decompressed, len(batches), limits)
            read = _format(batch.format).read(data, limits)
            tabled += read.table.nbytes
            _bound(tabled, len(batches), limits)
            reads[index] = read
        except UnfitBatch as error:
            unfit[index] = error
    return reads, unfit


def _bound(size: int, batches: int, limits: DecodeLimits) -> None:
    if size > limits.window_bytes:
        if batches > 1:
            raise WindowTooLarge
        raise UnfitBatch(UnfitReason.TOO_LARGE, f"decodes to more than {limits.window_bytes} bytes")


def _decompressed(batch: RawBatch, limits: DecodeLimits) -> bytes:
    return decompress(
        batch.body,
        batch.content_encoding,
        limit=limits.decompressed_bytes,
        ratio=limits.ratio,
        ratio_floor=limits.ratio_floor,
    )


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise UnfitBatch(UnfitReason.UNKNOWN_FORMAT, f"format {name[:64]!r} is not known")
    return FORMATS[name]


def _first(found: Sequence[Check], rows: int) -> NDArray[np.int64]:
    """The first check that each row fails, -1 for good rows."""
    first = np.full(rows, -1, np.int64)
    for number, check in enumerate(found):
        first[check.wrong & (first < 0)] = number
    return first


def _rejects(
    index: int,
    batch: RawBatch,
    read: Read,
    first: NDArray[np.int64],
    found: Sequence[Check],
    limits: DecodeLimits,
) -> list[Reject]:
    """The rejects of one batch, those of its decoder and those of the checks, by row.

    Raises `UnfitBatch`: too_many_rejects.
    """
    rows = (first >= 0).nonzero()[0]
    if not rows.size and not read.rejects:
        return []
    reasons = Counter(bad.reason for bad in read.rejects)
    reasons.update(found[number].reason for number in first[rows].tolist())
    bound_rejects(reasons, 0, limits)
    places = rows if read.rows is None else read.rows[rows]
    late = [
        BadRow(row=place, reason=found[number].reason, detail=found[number].detail)
        for place, number in zip(places.tolist(), first[rows].tolist(), strict=True)
    ]
    bad = sorted([*read.rejects, *late], key=attrgetter("row"))
    # Nothing of the body was kept for this: most batches have no rejects, and a window has many batches.
    own = _format(batch.format).pick(_decompressed(batch, limits), [one.row for one in bad])
    rejects: list[Reject] = []
    size = 0
    for one, data in zip(bad, own, strict=True):
        size += len(data)
        bound_rejects(reasons, size, limits)
        rejects.append(
            Reject(
                batch=index,
                row=one.row,
                reason=one.reason,
                detail=one.detail,
                format=batch.format,
                data=data,
            )
        )
    return rejects

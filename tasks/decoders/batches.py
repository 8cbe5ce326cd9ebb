"""All batches of a window in, one table of good events out."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from operator import attrgetter
from typing import Final

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.decoders import arrow_ipc, ndjson, otlp_json, otlp_protobuf
from tasks.decoders.contract import (
    BadRow,
    DecodedBatches,
    DecodeLimits,
    RawBatch,
    Read,
    Reject,
    UnfitBatch,
)
from tasks.decoders.decompress import decompress
from tasks.decoders.reasons import UnfitReason
from tasks.decoders.rows import bound_rejects, lines
from tasks.decoders.validate import Check, checks, normalised
from tasks.errors import WindowTooLarge
from tasks.events import EVENTS

FORMATS: Final[Mapping[str, Callable[[bytes, DecodeLimits], Read]]] = {
    "arrow": arrow_ipc.read,
    "ndjson": ndjson.read_lines,
    "json": ndjson.read_array,
    "otlp-protobuf": otlp_protobuf.read,
    "otlp-json": otlp_json.read,
}


def decode_batches(batches: Sequence[RawBatch], limits: DecodeLimits) -> DecodedBatches:
    """Decode and validate ``batches``: each ends as good events, rejects, or one entry of ``unfit``.

    Raises `WindowTooLarge` when several batches together pass ``limits.window_bytes``.
    """
    reads, unfit = _read_all(batches, limits)
    if not reads:
        return DecodedBatches(events=EVENTS.empty_table(), counts=[0] * len(batches), unfit=unfit)
    table = normalised(pa.concat_tables([read.table for read in reads.values()]))
    sizes = [read.table.num_rows for read in reads.values()]
    batch_of = np.repeat(np.fromiter(reads, np.int64, len(reads)), sizes)
    accepted = np.array([batch.accepted_at_us for batch in batches], np.int64)
    found = list(checks(table, accepted[batch_of]))
    first = _first(found, table.num_rows)
    rejects: list[Reject] = []
    end = 0
    for (index, read), size in zip(reads.items(), sizes, strict=True):
        start, end = end, end + size
        try:
            rejects += _rejects(index, read, table.slice(start, size), first[start:end], found, limits)
        except UnfitBatch as error:
            unfit[index] = error
    good = (first < 0) & ~np.isin(batch_of, list(unfit))
    return DecodedBatches(
        events=table if good.all() else table.filter(pa.array(good)),
        counts=np.bincount(batch_of[good], minlength=len(batches)).tolist(),
        rejects=rejects,
        unfit=dict(sorted(unfit.items())),
    )


def _read_all(
    batches: Sequence[RawBatch], limits: DecodeLimits
) -> tuple[dict[int, Read], dict[int, UnfitBatch]]:
    reads: dict[int, Read] = {}
    unfit: dict[int, UnfitBatch] = {}
    decompressed = tabled = 0
    for index, batch in enumerate(batches):
        try:
            data = decompress(
                batch.body,
                batch.content_encoding,
                limit=limits.decompressed_bytes,
                ratio=limits.ratio,
                ratio_floor=limits.ratio_floor,
            )
            decompressed += len(data)
            _bound(decompressed, len(batches), limits)
            read = _reader(batch.format)(data, limits)
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


def _reader(name: str) -> Callable[[bytes, DecodeLimits], Read]:
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
    read: Read,
    table: pa.Table,
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
    written = lines(table, rows, limits)
    late = [
        BadRow(row=place, reason=found[number].reason, detail=found[number].detail, data=line)
        for place, number, line in zip(places.tolist(), first[rows].tolist(), written, strict=True)
    ]
    bad = sorted([*read.rejects, *late], key=attrgetter("row"))
    bound_rejects(reasons, sum(len(one.data) for one in bad), limits)
    return [
        Reject(batch=index, row=one.row, reason=one.reason, detail=one.detail, data=one.data) for one in bad
    ]

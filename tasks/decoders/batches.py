"""All batches of a window in, one table of good events out, and one of good log records."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from operator import attrgetter
from typing import Final

import numpy as np
import zstandard
from numpy.typing import NDArray

from tasks.decoders import ndjson
from tasks.decoders.arrow import ipc_stream, joined
from tasks.decoders.contract import (
    Allowance,
    BadRow,
    DecodedBatches,
    DecodeLimits,
    Format,
    LogRead,
    RawBatch,
    Reject,
    UnfitBatch,
    WindowBody,
    WindowRead,
)
from tasks.decoders.decompress import decompress
from tasks.decoders.otlp import json_export, protobuf_export, protobuf_window
from tasks.decoders.otlp_logs import json_logs, protobuf_logs
from tasks.decoders.parsed import by_runs
from tasks.decoders.reasons import RejectReason, UnfitReason
from tasks.decoders.rows import bound_rejects
from tasks.decoders.validate import OUT_OF_TIME, Check, checks, normalised, out_of_time
from tasks.decoders.window_reads import merged, nothing
from tasks.events import EventTable

FORMATS: Final[Mapping[str, Format]] = {
    "arrow": Format(read=ipc_stream.read, read_window=joined.read_window, pick=ipc_stream.pick),
    "ndjson": Format(
        read=ndjson.read_lines,
        read_window=by_runs(ndjson.read_lines, ndjson.parse_lines, ndjson.together),
        pick=ndjson.pick_lines,
    ),
    "json": Format(
        read=ndjson.read_array,
        read_window=by_runs(ndjson.read_array, ndjson.parse_array, ndjson.together),
        pick=ndjson.pick_elements,
    ),
    "otlp-protobuf": Format(
        read=protobuf_export.read, read_window=protobuf_window.read_window, pick=protobuf_export.pick
    ),
    "otlp-json": Format(
        read=json_export.read,
        read_window=by_runs(json_export.read, json_export.parse, json_export.together),
        pick=json_export.pick,
    ),
    "otlp-logs-protobuf": protobuf_logs.FORMAT,
    "otlp-logs-json": json_logs.FORMAT,
}


def decode_batches(batches: Sequence[RawBatch], limits: DecodeLimits) -> DecodedBatches:
    """Decode and validate `batches`: each ends as good events, rejects, or one entry of `unfit`.

    Raises `WindowTooLarge` when several batches together pass `limits.window_bytes`.
    """
    read = _read_all(batches, limits)
    unfit = dict(read.unfit)
    if len(unfit) == len(batches):
        return DecodedBatches(good=EventTable.none(), counts=[0] * len(batches), unfit=unfit)
    table = normalised(read.table)
    accepted = np.array([batch.accepted_at_us for batch in batches], np.int64)
    if read.logs is not None:
        read = _logs_in_time(read, read.logs, accepted)
    found = list(checks(table, read.attributes, accepted[read.batch_of], read.lent))
    first = _first(found, table.num_rows)
    rejects: list[Reject] = []
    for index in sorted({*read.rejects, *read.batch_of[first >= 0].tolist()}):
        try:
            rejects += _rejects(index, batches[index], read, first, found, limits)
        except UnfitBatch as error:
            unfit[index] = error
    good = (first < 0) & ~np.isin(read.batch_of, list(unfit))
    return DecodedBatches(
        good=EventTable(table, read.attributes).filter(good),
        counts=np.bincount(read.batch_of[good], minlength=len(batches)).tolist(),
        rejects=rejects,
        unfit=dict(sorted(unfit.items())),
        logs=None if read.logs is None else read.logs.filter(~np.isin(read.logs.batch_of, list(unfit))),
    )


def decode_windows(windows: Sequence[Sequence[RawBatch]], limits: DecodeLimits) -> list[DecodedBatches]:
    """What `decode_batches` makes of each window: a small one costs less together with others.

    Raises `WindowTooLarge` when all of them together pass `limits.window_bytes`, or one of them alone.
    """
    whole = decode_batches([batch for window in windows for batch in window], limits)
    found: list[DecodedBatches] = []
    first = row = 0
    for window in windows:
        end = first + len(window)
        counts = whole.counts[first:end]
        found.append(
            DecodedBatches(
                good=whole.good.slice(row, sum(counts)),
                counts=counts,
                rejects=[
                    replace(each, batch=each.batch - first)
                    for each in whole.rejects
                    if first <= each.batch < end
                ],
                unfit={index - first: error for index, error in whole.unfit.items() if first <= index < end},
                logs=None if whole.logs is None else whole.logs.of_batches(first, end),
            )
        )
        first, row = end, row + sum(counts)
    return found


def events_at(batch: RawBatch, rows: Sequence[int], limits: DecodeLimits) -> Iterator[tuple[int, bytes]]:
    """Those of `rows` (ascending, each once) that the batch has, and each one's event as `Reject.data` is.

    The batch is decoded once, when the first is asked for: that raises `UnfitBatch`.
    """
    data = _decompressed(batch, limits)
    form = _format(batch.format)
    form.read(data, limits)  # who picks relies on it
    with suppress(IndexError):  # nor does the batch have any row after that one
        yield from zip(rows, form.pick(data, rows), strict=False)


def _read_all(batches: Sequence[RawBatch], limits: DecodeLimits) -> WindowRead:
    zstd = zstandard.ZstdDecompressor()
    decompressed = Allowance(limits.window_bytes, len(batches))
    unfit: dict[int, UnfitBatch] = {}
    by_format: defaultdict[str, list[WindowBody]] = defaultdict(list)
    for index, batch in enumerate(batches):
        try:
            data = _decompressed(batch, limits, zstd)
            decompressed.take(len(data))
            _format(batch.format)
            by_format[batch.format].append(WindowBody(index, data))
        except UnfitBatch as error:
            unfit[index] = error
    tables = Allowance(limits.window_bytes, len(batches))
    reads: list[WindowRead] = []
    for form, bodies in by_format.items():
        try:
            reads.append(FORMATS[form].read_window(bodies, limits, tables))
        except UnfitBatch as error:  # of the allowance, which the window's only batch passes
            unfit[bodies[0].batch] = error
    return merged([*reads, nothing({}, unfit)])


def _decompressed(
    batch: RawBatch, limits: DecodeLimits, zstd: zstandard.ZstdDecompressor | None = None
) -> bytes:
    return decompress(
        batch.body,
        batch.content_encoding,
        limit=limits.decompressed_bytes,
        ratio=limits.ratio,
        ratio_floor=limits.ratio_floor,
        zstd=zstd,
    )


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise UnfitBatch(UnfitReason.UNKNOWN_FORMAT, f"format {name[:64]!r} is not known")
    return FORMATS[name]


def _logs_in_time(read: WindowRead, logs: LogRead, accepted_at_us: NDArray[np.int64]) -> WindowRead:
    """With a reject in place of each log record whose time is beyond the bounds of events."""
    late = out_of_time(logs.table["at"].combine_chunks(), accepted_at_us[logs.batch_of])
    rejects = {index: [*bad] for index, bad in read.rejects.items()}
    for batch, place in zip(logs.batch_of[late].tolist(), logs.places[late].tolist(), strict=True):
        bad = BadRow(row=place, reason=RejectReason.BAD_TIME, detail=OUT_OF_TIME)
        rejects.setdefault(batch, []).append(bad)
    return replace(read, rejects=rejects, logs=logs.filter(~late))


def _first(found: Sequence[Check], rows: int) -> NDArray[np.int64]:
    """The first check that each row fails, -1 for good rows."""
    first = np.full(rows, -1, np.int64)
    for number, check in enumerate(found):
        first[check.wrong & (first < 0)] = number
    return first


def _rejects(
    index: int,
    batch: RawBatch,
    read: WindowRead,
    first: NDArray[np.int64],
    found: Sequence[Check],
    limits: DecodeLimits,
) -> list[Reject]:
    """The rejects of one batch, those of its decoder and those of the checks, by row.

    Raises `UnfitBatch`: too_many_rejects.
    """
    start, end = np.searchsorted(read.batch_of, (index, index + 1)).tolist()
    rows = start + (first[start:end] >= 0).nonzero()[0]
    early = read.rejects.get(index, ())
    reasons = Counter(bad.reason for bad in early)
    reasons.update(found[number].reason for number in first[rows].tolist())
    bound_rejects(reasons, 0, limits)
    places = rows - start if read.places is None else read.places[rows]
    late = [
        BadRow(row=place, reason=found[number].reason, detail=found[number].detail)
        for place, number in zip(places.tolist(), first[rows].tolist(), strict=True)
    ]
    bad = sorted([*early, *late], key=attrgetter("row"))
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

"""Single events as lines of JSON, for the few that are rejected."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from tasks.decoders.contract import BadRow, DecodeLimits, UnfitBatch
from tasks.decoders.ids import Mask
from tasks.decoders.reasons import RejectReason, UnfitReason

_encoder = msgspec.json.Encoder()


def lines(
    table: pa.Table, rows: NDArray[np.int64], limits: DecodeLimits, sent: Mapping[str, Any] | None = None
) -> list[bytes]:
    """The events in ``rows`` of a table of EVENTS, each as a line of NDJSON that can be posted again.

    ``sent`` gives, by column, an array with what the agent sent where the table holds null in its place.
    Raises `UnfitBatch`: too_many_rejects, before writing more than can be kept.
    """
    taken = pa.array(rows)
    picked = table.take(taken)
    if (
        picked.nbytes > 2 * limits.reject_bytes
    ):  # a line is at least half as long as the columns it comes from
        raise UnfitBatch(UnfitReason.TOO_MANY_REJECTS, f"more than {limits.reject_bytes} bytes of them")
    times = picked["started_at"].cast(pa.int64()).to_pylist()
    originals = {name: array.take(taken).to_pylist() for name, array in (sent or {}).items()}
    written = []
    for index, event in enumerate(picked.drop_columns(["started_at"]).to_pylist()):
        event["started_at"] = times[index]
        event["attributes"] = dict(event["attributes"] or ())
        for name, values in originals.items():
            if event[name] is None:
                event[name] = values[index]
        given = {name: _text(value) for name, value in event.items() if value is not None}
        written.append(_encoder.encode(given))
    return written


def bad_rows(
    table: pa.Table,
    wrong: Iterable[tuple[RejectReason, Mask | None, str]],
    sent: Mapping[str, Any],
    limits: DecodeLimits,
) -> list[BadRow]:
    """A `BadRow` for each row of ``table`` that one of the masks marks; the first mask names the reason.

    Raises `UnfitBatch`: too_many_rejects.
    """
    found: dict[int, tuple[RejectReason, str]] = {}
    for reason, mask, detail in wrong:
        if mask is None:
            continue
        for row in mask.nonzero()[0][: limits.rejects + 1].tolist():
            found.setdefault(row, (reason, detail))
    if not found:
        return []
    bound_rejects(Counter(reason for reason, _ in found.values()), 0, limits)
    rows = np.array(sorted(found), np.int64)
    return [
        BadRow(row=row, reason=found[row][0], detail=found[row][1], data=line)
        for row, line in zip(rows.tolist(), lines(table, rows, limits, sent), strict=True)
    ]


def bound_rejects(reasons: Counter[RejectReason], size: int, limits: DecodeLimits) -> None:
    """Refuse a batch of which too little is good: ``size`` bytes of rejects for ``reasons``.

    Raises `UnfitBatch`: too_many_rejects.
    """
    if reasons.total() > limits.rejects or size > limits.reject_bytes:
        common = reasons.most_common(1)[0][0]
        raise UnfitBatch(UnfitReason.TOO_MANY_REJECTS, f"{reasons.total()} events, most of them {common}")


def _text(value: Any) -> Any:
    return value.hex() if isinstance(value, bytes) else value

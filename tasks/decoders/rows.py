"""Single events, the few of a batch that are rejected: which they are, and how much of them there may be."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from tasks.decoders.contract import BadRow, DecodeLimits, UnfitBatch
from tasks.decoders.ids import Mask
from tasks.decoders.reasons import RejectReason, UnfitReason

NONE: Final[Mapping[int, tuple[RejectReason, str]]] = {}


@dataclass(frozen=True, slots=True)
class Frame:
    """Consecutive events of a body as bytes, and what makes a body of one of them alone."""

    pieces: Sequence[bytes]
    around: Callable[[bytes], bytes]


def picked(frames: Iterable[Frame], rows: Sequence[int]) -> Iterator[bytes]:
    """The events at `rows` (ascending) of all frames together, each as a body of its own."""
    wanted = iter(rows)
    row = next(wanted, None)
    first = 0
    for frame in frames:
        while row is not None and row < first + len(frame.pieces):
            yield frame.around(frame.pieces[row - first])
            row = next(wanted, None)
        if row is None:
            return
        first += len(frame.pieces)


def bad_rows(
    wrong: Iterable[tuple[RejectReason, Mask | None, str]],
    limits: DecodeLimits,
    others: Mapping[int, tuple[RejectReason, str]] = NONE,
) -> list[BadRow]:
    """A `BadRow` for each row that one of the masks marks, and for the `others`; the first mask names the
    reason.

    Raises `UnfitBatch`: too_many_rejects.
    """
    found: dict[int, tuple[RejectReason, str]] = {}
    for reason, mask, detail in wrong:
        if mask is None:
            continue
        for row in mask.nonzero()[0][: limits.rejects + 1].tolist():
            found.setdefault(row, (reason, detail))
    found = {**others, **found}
    bound_rejects(Counter(reason for reason, _ in found.values()), 0, limits)
    return [BadRow(row=row, reason=found[row][0], detail=found[row][1]) for row in sorted(found)]


def bound_rejects(reasons: Counter[RejectReason], size: int, limits: DecodeLimits) -> None:
    """Refuse a batch of which too little is good: `size` bytes of rejects for `reasons`.

    Raises `UnfitBatch`: too_many_rejects.
    """
    if reasons.total() > limits.rejects or size > limits.reject_bytes:
        common = reasons.most_common(1)[0][0]
        raise UnfitBatch(UnfitReason.TOO_MANY_REJECTS, f"{reasons.total()} events, most of them {common}")

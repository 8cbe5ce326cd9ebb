"""Whether a customer's batches fail so often that its breaker has to open. Counting only; no IO."""

from collections import Counter
from collections.abc import Iterable

from db.ledger.breaker import Outcomes
from tasks.decoders import DecodedBatches
from tasks.handover import EXPIRED, Header
from tasks.settings import TaskSettings

# Retention's doing, not that of decoding or processing.
NO_FAILURES = frozenset({EXPIRED})


def spoilt_batches(decoded: DecodedBatches) -> dict[str, int]:
    """How many batches count as failed though they could be decoded, by reason: those of which more than
    half of the events are rejected for that one reason.
    """
    if not decoded.rejects:
        return {}
    rejected = Counter(reject.batch for reject in decoded.rejects)
    for_reason = Counter((reject.batch, str(reject.reason)) for reject in decoded.rejects)
    return dict(
        Counter(
            reason
            for (batch, reason), count in for_reason.items()
            if 2 * count > decoded.good_of(batch) + rejected[batch]
        )
    )


def failures(header: Header) -> dict[str, int]:
    """A window's failed batches by reason."""
    unfit = Counter(row.reason for row in header.unfit if row.reason not in NO_FAILURES)
    return dict(unfit + Counter(header.spoilt))


def tripped(past: Outcomes, headers: Iterable[Header], settings: TaskSettings) -> str | None:
    """The reason for which too many of the batches of `past` and `headers` failed, None for none."""
    batches, failed = past.batches, Counter(past.failures)
    for header in headers:
        batches += header.batches
        failed.update(failures(header))
    reason, count = max(failed.items(), key=lambda item: item[1], default=("", 0))
    too_many = count >= settings.breaker_batches and count > settings.breaker_ratio * batches
    return reason if too_many else None

"""The dispatch transaction: cursor, window and batch ids of one customer, together or not at all.

What becomes of each batch is decided here: new, duplicate, discarded, or unfit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection

import db.ledger.dispatch
from db.ledger.dispatch import Known, NewBatch, NewQuarantine, NewWindow
from streams import Broker, Envelope, decode_envelope, raw
from streams.errors import UnfitMessage
from streams.messages.fingerprint import fingerprint
from tasks.carried import Messages
from tasks.dispatcher.cutter import Pending
from tasks.dispatcher.raw_streams.feed import Feed

REUSED = "batch_id_reused"
NOT_AN_ENVELOPE = "not_an_envelope"


@dataclass(frozen=True, kw_only=True)
class SortedBatches:
    """A feed's next batches, sorted by what becomes of each. Every offset is in exactly one of the lists."""

    feed: Feed
    batches: Sequence[Pending]
    fresh: Sequence[Pending]
    discarded: Sequence[Pending]
    duplicates: int
    quarantined: Mapping[Pending, str]  # batch → reason
    regained: Sequence[str]  # ids of fresh batches that are remembered as discarded

    @property
    def expired(self) -> int:
        """Batches below the first one that retention removed before they were read."""
        return self.batches[0].offset - self.feed.next_offset

    @property
    def messages(self) -> Messages:
        """Those of the fresh batches, for a doorbell; none where one of them was not kept."""
        messages = {batch.offset: batch.message for batch in self.fresh}
        return messages if all(messages.values()) else {}


class Recordable(NamedTuple):
    """What one window is made of: its batches, the rows that go to quarantine, and the group of windows of
    this round that share a doorbell with it, if any.
    """

    batches: SortedBatches
    quarantined: list[NewQuarantine]
    group: int | None = None


def sort(feed: Feed, batches: Sequence[Pending], known: Mapping[str, Known]) -> SortedBatches:
    """Tell fresh batches from repeats; `known` has the batch ids seen before.

    A batch that was discarded, and comes again when its customer is no longer dropping, is fresh: its content
    was never kept. The reverse is a repeat: its content was.
    """
    seen = dict(known)
    fresh: list[Pending] = []
    discarded: list[Pending] = []
    quarantined: dict[Pending, str] = {}
    duplicates = 0
    for batch in batches:
        first = _first(batch, seen)
        if batch.unfit:
            quarantined[batch] = NOT_AN_ENVELOPE
        elif first is None or (first.discarded and not batch.discarded):
            seen[batch.batch_id] = Known(batch.digest, batch.discarded)
            (discarded if batch.discarded else fresh).append(batch)
        elif first.digest == batch.digest or batch.discarded:
            duplicates += 1
        else:
            quarantined[batch] = REUSED
    return SortedBatches(
        feed=feed,
        batches=batches,
        fresh=fresh,
        discarded=discarded,
        duplicates=duplicates,
        quarantined=quarantined,
        regained=[batch.batch_id for batch in fresh if batch.batch_id in known],
    )


def known(connection: Connection, batches: Mapping[int, Sequence[Pending]]) -> dict[int, dict[str, Known]]:
    """What is remembered of the ids of batches, given by customer id, for `sort`."""
    ids = {
        of: [one for batch in theirs for one in (batch.batch_id, batch.other_id) if one]
        for of, theirs in batches.items()
    }
    return db.ledger.dispatch.known(connection, ids)


def _first(batch: Pending, seen: Mapping[str, Known]) -> Known | None:
    """What is remembered of the batch; under the id of another release only what had the same bytes."""
    own, other = seen.get(batch.batch_id), seen.get(batch.other_id)
    if other is not None and other.digest == batch.digest and (own is None or own.discarded):
        return other
    return own


def quarantine_rows(
    broker: Broker, sorted_batches: SortedBatches, *, now_us: int, deadline_s: float
) -> list[NewQuarantine]:
    """What goes to quarantine, with its bytes: they are fetched again, the feed did not keep them."""
    if not sorted_batches.quarantined:
        return []
    offsets = [batch.offset for batch in sorted_batches.quarantined]
    messages = broker.read(raw(sorted_batches.feed.slug), offsets[0], offsets[-1], deadline_s=deadline_s)
    # Since the feed read it, the stream may have been replaced: other bytes are not this batch's.
    due = {batch.offset: batch.fingerprint for batch in sorted_batches.quarantined}
    found = {
        message.offset: message.data
        for message in messages
        if due.get(message.offset) == fingerprint(message.data)
    }
    return [
        _quarantine_row(batch, reason, found.get(batch.offset, memoryview(b"")), now_us)
        for batch, reason in sorted_batches.quarantined.items()
    ]


def _quarantine_row(batch: Pending, reason: str, message: memoryview, now_us: int) -> NewQuarantine:
    envelope = _envelope(message)
    return NewQuarantine(
        window_id=None,
        stream_offset=batch.offset,
        batch_id=batch.batch_id,
        row=None,
        reason=reason,
        detail=batch.unfit or "the batch id was used before with other bytes",
        format=envelope.format if envelope else "",
        content_encoding=envelope.content_encoding if envelope else "",
        accepted_at=envelope.came_at_us if envelope else 0,
        bytes=bytes(envelope.body if envelope else message),
        created_at=now_us,
    )


def record(
    connection: Connection,
    sorted_batches: SortedBatches,
    quarantined: list[NewQuarantine],
    *,
    pipeline_version: int,
    quarantine_daily_bytes: int,
    now_us: int,
) -> int:
    """Book a feed's next batches and return their window's id.

    A window without fresh batches is recorded as deposited. Offsets that retention removed before they were
    read (a gap below the first batch) are booked as *expired*. Raises `db.ledger.dispatch.LostLease` when
    another dispatcher moved the cursor: nothing of the transaction may be kept.
    """
    feed, batches = sorted_batches.feed, sorted_batches.batches
    first, last = batches[0].offset, batches[-1].offset
    fresh = {batch.offset for batch in sorted_batches.fresh}
    kept_ids = {batch.batch_id for batch in sorted_batches.fresh}
    remembered = [batch for batch in sorted_batches.discarded if batch.batch_id not in kept_ids]
    accepted = [batch.accepted_at_us for batch in batches if batch.accepted_at_us] or [now_us]
    window_id = db.ledger.dispatch.record(
        connection,
        customer_id=feed.customer_id,
        epoch=feed.epoch,
        next_offset_before=feed.next_offset,
        next_offset_after=last + 1,
        window=NewWindow(
            first_offset=first,
            last_offset=last,
            skipped=[batch.offset for batch in batches if batch.offset not in fresh],
            batches=len(sorted_batches.fresh),
            bytes=sum(batch.size for batch in sorted_batches.fresh),
            pipeline_version=pipeline_version,
            first_accepted_at=min(accepted),
            last_accepted_at=max(accepted),
            created_at=now_us,
            generation=feed.generation,
            fingerprints=b"".join(batch.fingerprint for batch in batches),
        ),
        batches=[
            NewBatch(
                batch_id=batch.batch_id,
                digest=batch.digest,
                first_offset=batch.offset,
                accepted_at=batch.accepted_at_us,
                discarded=batch.discarded,
            )
            for batch in (*sorted_batches.fresh, *remembered)
        ],
        duplicates=sorted_batches.duplicates,
        reused=quarantined,
        discarded=len(sorted_batches.discarded),
        expired=sorted_batches.expired,
        edge=batches[-1].fingerprint,
        regained=sorted_batches.regained,
        quarantine_daily_bytes=quarantine_daily_bytes,
    )
    assert window_id is not None
    return window_id


def _envelope(message: memoryview) -> Envelope | None:
    try:
        return decode_envelope(message)
    except UnfitMessage:
        return None

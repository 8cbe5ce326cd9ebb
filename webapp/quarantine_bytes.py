"""The bytes of quarantined rows that were over their day's budget: fetched from the raw stream again.

An offset alone does not say which batch is there now. What is fetched is compared with the digest that was
kept, and what is not the same is gone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from db.quarantine import Quarantined
from streams import Broker, Envelope, decode_envelope, raw
from streams.errors import StreamEnds, StreamMissing, UnfitMessage

MOST_BYTES = 256 * 1024 * 1024
"""Of a batch, decompressed: only an event's is, and that was within the workers' own bound before."""
GONE = "its bytes were over the day's budget of quarantine, and the raw stream does not have them any more"


class Withheld:
    """Of one customer; keeps the batch that it read last, since many events come of one."""

    def __init__(self, broker: Broker, slug: str, *, deadline_s: float) -> None:
        self._broker = broker
        self._slug = slug
        self._deadline_s = deadline_s
        self._offset = -1
        self._message: bytes | None = None

    def fetch(self, row: Quarantined) -> bytes | None:
        """The row's bytes, None when the raw stream does not have them any more.

        Raises streams.errors.Unavailable.
        """
        message = self._at(row.stream_offset)
        if message is None:
            return None
        found = (one for one in _candidates(message, row) if hashlib.sha256(one).hexdigest() == row.sha256)
        return next(found, None)

    def _at(self, offset: int) -> bytes | None:
        if offset != self._offset:
            self._message = self._read(offset)
            self._offset = offset
        return self._message

    def _read(self, offset: int) -> bytes | None:
        try:
            messages = self._broker.read(raw(self._slug), offset, offset, deadline_s=self._deadline_s)
        except (StreamEnds, StreamMissing):
            return None
        return next((bytes(one.data) for one in messages if one.offset == offset), None)


def _candidates(message: bytes, row: Quarantined) -> Iterator[bytes]:
    """What the row's bytes may be: the batch's, its event's, or the message as it is."""
    if row.row is None:
        yield message
    try:
        envelope = decode_envelope(message)
    except UnfitMessage:
        return
    if row.row is None:
        yield bytes(envelope.body)
    elif envelope.batch_id == row.batch_id:
        yield from _event(envelope, row.row)


def _event(envelope: Envelope, row: int) -> Iterator[bytes]:
    # Imported here since the receiver imports this module, too, and never decodes anything.
    from tasks.decoders import DecodeLimits, RawBatch, UnfitBatch, event_at

    limits = DecodeLimits(decompressed_bytes=MOST_BYTES, ratio=MOST_BYTES, window_bytes=2 * MOST_BYTES)
    batch = RawBatch(
        body=envelope.body,
        format=envelope.format,
        content_encoding=envelope.content_encoding,
        accepted_at_us=envelope.came_at_us,
    )
    try:
        yield event_at(batch, row, limits)
    except UnfitBatch:
        return

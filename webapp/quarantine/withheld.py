"""The bytes of quarantined rows that were over their day's budget: fetched from the raw stream again.

An offset alone does not say which batch is there now. What is fetched is compared with the digest that was
kept, and what is not the same is gone.
"""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence

from db.quarantine.rows import Quarantined
from streams import Broker, Envelope, decode_envelope, raw
from streams.errors import StreamEnds, StreamMissing, UnfitMessage

MOST_BYTES = 256 * 1024 * 1024
"""Of a batch, decompressed for its events: four times what workers take, unless their settings say else."""
TOO_LARGE = (
    "its bytes were over the day's budget of quarantine, and the raw stream's batch unpacks to more than "
    f"{MOST_BYTES:,} bytes: too many to pick an event out of it"
)
GONE = "its bytes were over the day's budget of quarantine, and the raw stream does not have them any more"


class _TooLarge(Exception):
    """The batch that is there unpacks to more than `MOST_BYTES`."""

    def __init__(self, batch_id: str) -> None:
        super().__init__(batch_id)
        self.batch_id = batch_id


class Withheld:
    """Of one customer; keeps the batch that it read last, since many events come of one."""

    def __init__(self, broker: Broker, slug: str, *, deadline_s: float) -> None:
        self._broker = broker
        self._slug = slug
        self._deadline_s = deadline_s
        self._offset = -1
        self._message: bytes | None = None
        self._too_large: set[int] = set()  # ids of rows

    def fetch_all(self, rows: Sequence[Quarantined]) -> dict[int, bytes | None]:
        """The withheld rows' bytes by id, None for what cannot be had: `why_not` says why.

        A batch is decoded once, however many of the rows are its events.
        Raises streams.errors.BrokerUnavailable.
        """
        there: defaultdict[int, list[Quarantined]] = defaultdict(list)
        for row in rows:
            if row.withheld is not None:
                there[row.stream_offset].append(row)
        found: dict[int, bytes | None] = {row.id: None for those in there.values() for row in those}
        for offset, those in there.items():
            message = self._at(offset)
            if message is None:
                continue
            try:
                # One by one: what is not a row's is not kept.
                for row, data in _candidates(message, those):
                    if found[row.id] is None and hashlib.sha256(data).hexdigest() == row.sha256:
                        found[row.id] = data
            except _TooLarge as error:
                events = (row for row in those if row.row is not None)
                self._too_large.update(row.id for row in events if row.batch_id == error.batch_id)
        return found

    def why_not(self, row_id: int) -> str:
        """Why `fetch_all` gave None for a row."""
        return TOO_LARGE if row_id in self._too_large else GONE

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


def _candidates(message: bytes, rows: Sequence[Quarantined]) -> Iterator[tuple[Quarantined, bytes]]:
    """What the rows' bytes may be: the message as it is, the batch's, or its event's. Raises `_TooLarge`."""
    whole = [row for row in rows if row.row is None]
    for row in whole:
        yield row, message
    try:
        envelope = decode_envelope(message)
    except UnfitMessage:
        return
    for row in whole:
        yield row, bytes(envelope.body)
    events: defaultdict[int, list[Quarantined]] = defaultdict(list)
    for row in rows:
        if row.row is not None and row.batch_id == envelope.batch_id:
            events[row.row].append(row)
    if events:
        for at, data in _events(envelope, sorted(events)):
            for row in events[at]:
                yield row, data


def _events(envelope: Envelope, rows: Sequence[int]) -> Iterator[tuple[int, bytes]]:
    # Imported here since the receiver imports this module, too, and never decodes anything.
    from tasks.decoders import DecodeLimits, RawBatch, UnfitBatch, UnfitReason, events_at

    limits = DecodeLimits(decompressed_bytes=MOST_BYTES, ratio=MOST_BYTES, window_bytes=2 * MOST_BYTES)
    batch = RawBatch(
        body=envelope.body,
        format=envelope.format,
        content_encoding=envelope.content_encoding,
        accepted_at_us=envelope.came_at_us,
    )
    try:
        yield from events_at(batch, rows, limits)
    except UnfitBatch as error:
        if error.reason == UnfitReason.TOO_LARGE:
            raise _TooLarge(envelope.batch_id) from None

"""The quarantine rows of a window: its rejected events, and its unfit batches with their bytes."""

import db.engine
import db.ledger.windows
from db.clock import now_us
from db.quarantine.rows import NewQuarantine
from streams import Envelope, decode_envelope, raw
from streams.errors import StreamEnds, UnfitMessage
from streams.messages.fingerprint import FINGERPRINT_BYTES, fingerprint_of_envelope, fingerprint_of_unfit
from tasks.handover import EXPIRED, Header, UnfitRow
from tasks.stages.context import Context


def quarantine_rows(context: Context, header: Header) -> list[NewQuarantine]:
    """Rows for `db.quarantine.rows.add`. An unfit batch's bytes are fetched from the raw stream: they did not
    travel.
    """
    created_at = now_us(context.engine)
    rejected = [
        NewQuarantine(
            window_id=header.window_id,
            stream_offset=reject.offset,
            batch_id=reject.batch_id,
            row=reject.row,
            reason=reject.reason,
            detail=reject.detail,
            format=reject.format,
            content_encoding="",
            accepted_at=reject.accepted_at_us,
            bytes=reject.data,
            created_at=created_at,
        )
        for reject in header.rejects
    ]
    bytes_of = _envelopes(context, header)
    return rejected + [_unfit(header, row, bytes_of.get(row.offset), created_at) for row in header.unfit]


def _envelopes(context: Context, header: Header) -> dict[int, Envelope]:
    """The unfit batches' envelopes by offset: those that are still in the stream."""
    wanted = {row.offset for row in header.unfit if row.reason != EXPIRED}
    if not wanted:
        return {}
    deadline_s = context.settings.read_deadline_s
    try:
        messages = context.broker.read(raw(header.customer), min(wanted), max(wanted), deadline_s=deadline_s)
    except StreamEnds:
        return {}
    booked = _booked(context, header)
    found = {}
    for message in messages:
        if message.offset not in wanted:
            continue
        envelope = _booked_envelope(message.data, booked.get(message.offset))
        if envelope is not None:
            found[message.offset] = envelope
    return found


def _booked_envelope(data: bytes | memoryview, known: bytes | None) -> Envelope | None:
    """None when it is another message than was booked, as far as that is known."""
    try:
        envelope = decode_envelope(data)
    except UnfitMessage:
        if known in (None, fingerprint_of_unfit(data)):
            raise
        return None
    return envelope if known in (None, fingerprint_of_envelope(envelope)) else None


def _booked(context: Context, header: Header) -> dict[int, bytes]:
    """The fingerprints of the window's messages, as far as they are known: an offset may be another's now."""
    with db.engine.look(context.engine) as connection:
        window = db.ledger.windows.get(connection, header.window_id)
    if window is None or window.fingerprints is None:
        return {}
    return {
        window.first_offset + at // FINGERPRINT_BYTES: window.fingerprints[at : at + FINGERPRINT_BYTES]
        for at in range(0, len(window.fingerprints), FINGERPRINT_BYTES)
    }


def _unfit(header: Header, row: UnfitRow, envelope: Envelope | None, created_at: int) -> NewQuarantine:
    return NewQuarantine(
        window_id=header.window_id,
        stream_offset=row.offset,
        batch_id=envelope.batch_id if envelope else "",
        row=None,
        reason=row.reason,
        detail=row.detail,
        format=envelope.format if envelope else "",
        content_encoding=envelope.content_encoding if envelope else "",
        accepted_at=envelope.came_at_us if envelope else 0,
        bytes=bytes(envelope.body) if envelope else b"",
        created_at=created_at,
    )

"""The quarantine rows of a window: its rejected events, and its unfit batches with their bytes."""

import time

from db.quarantine import NewQuarantine
from streams import Envelope, decode_envelope, raw
from tasks.context import Context
from tasks.handover import EXPIRED, Header, UnfitRow


def quarantine_rows(context: Context, header: Header) -> list[NewQuarantine]:
    """Rows for `db.quarantine.add`. An unfit batch's bytes are fetched from the raw stream: they did not
    travel.
    """
    now_us = time.time_ns() // 1000
    rejected = [
        NewQuarantine(
            window_id=header.window_id,
            stream_offset=reject.offset,
            batch_id=reject.batch_id,
            row=reject.row,
            reason=reject.reason,
            detail=reject.detail,
            format="ndjson",
            content_encoding="",
            accepted_at=reject.accepted_at_us,
            bytes=reject.data,
            created_at=now_us,
        )
        for reject in header.rejects
    ]
    bytes_of = _envelopes(context, header)
    return rejected + [_unfit(header, row, bytes_of.get(row.offset), now_us) for row in header.unfit]


def _envelopes(context: Context, header: Header) -> dict[int, Envelope]:
    """The unfit batches' envelopes by offset, those that retention has not removed."""
    offsets = [row.offset for row in header.unfit if row.reason != EXPIRED]
    if not offsets:
        return {}
    deadline_s = context.settings.read_deadline_s
    messages = context.broker.read(raw(header.customer), offsets[0], offsets[-1], deadline_s=deadline_s)
    wanted = set(offsets)
    return {each.offset: decode_envelope(each.data) for each in messages if each.offset in wanted}


def _unfit(header: Header, row: UnfitRow, envelope: Envelope | None, now_us: int) -> NewQuarantine:
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
        created_at=now_us,
    )

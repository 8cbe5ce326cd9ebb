"""What verification keeps of a stream's batches while it looks them up: all but their bytes."""

from typing import NamedTuple, TypeAlias

from streams import decode_envelope, other_id
from streams.errors import UnfitMessage

SLICE = 5_000
"""Batches looked up together; a chunk is not cut, so a slice may hold a chunk's batches more."""


class BatchHead(NamedTuple):
    """An envelope without its body, which would keep the whole chunk in memory."""

    batch_id: str
    digest: bytes
    accepted_at_us: int
    discarded: bool
    other_id: str


Heads: TypeAlias = list[tuple[int, BatchHead | None]]
"""By offset, ascending; None for what is no envelope."""


def head(message: memoryview) -> BatchHead | None:
    """What identifies the batch, None when the message is no envelope."""
    try:
        found = decode_envelope(message)
    except UnfitMessage:
        return None
    return BatchHead(found.batch_id, found.digest, found.accepted_at_us, found.discarded, other_id(found))

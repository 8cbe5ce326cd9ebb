"""Where a stream begins and where it ends."""

import asyncio

from rstream import schema
from rstream.constants import OffsetType

from streams.connections import frames
from streams.connections.client import as_unavailable
from streams.connections.pool import Pool
from streams.errors import BrokerUnavailable, UnfitMessage
from streams.reading.attachment import attach

# Between two looks at a newest chunk that is not committed yet.
_PAUSE_S = 0.05


class _FirstChunk:
    """Keeps the first chunk that comes."""

    def __init__(self, stream: str) -> None:
        self.stream = stream
        self.chunk: frames.DeliveredChunk | None = None
        self.error: Exception | None = None

    def deliver(self, chunk: frames.DeliveredChunk) -> None:
        self.chunk = self.chunk or chunk

    def unfit(self, error: UnfitMessage) -> None:
        self.error = error

    def lost(self, error: BrokerUnavailable) -> None:
        self.error = error


async def first_offset(pool: Pool, stream: str) -> int | None:
    """Offset of the oldest message that is kept; None when there is none."""
    chunk = await _one_chunk(pool, stream, OffsetType.FIRST)
    return None if chunk is None else chunk.first_offset


async def last_offset(pool: Pool, stream: str) -> int | None:
    """Offset of the newest message; None when the stream is empty. The newest chunk is transferred for it."""
    chunk = await _one_chunk(pool, stream, OffsetType.LAST)
    while chunk is None:
        # In a cluster the newest chunk may not be committed yet, and is not sent before it is.
        if await _one_chunk(pool, stream, OffsetType.FIRST) is None:
            return None
        await asyncio.sleep(_PAUSE_S)
        chunk = await _one_chunk(pool, stream, OffsetType.LAST)
    return chunk.next_offset - 1


async def _one_chunk(pool: Pool, stream: str, where: OffsetType) -> frames.DeliveredChunk | None:
    """The chunk there, None when there is none: the broker takes a connection's requests in order and sends
    what it has before it takes the next, so the answer to a second request proves that nothing comes.
    """
    location = await pool.locate(stream)
    receiver = _FirstChunk(stream)
    attachment = await attach(pool, location.leader, receiver, schema.OffsetSpec(where), credit=1)
    try:
        connection = attachment.connection
        if receiver.chunk is None:
            request = schema.Metadata(connection.correlation(), streams=[])
            await connection.sync_request(request, schema.MetadataResponse, raise_exception=False)
    except TimeoutError as error:
        raise as_unavailable(error, f"looking where {stream} begins and ends") from error
    finally:
        attachment.detach()
    if receiver.error is not None:
        raise receiver.error
    return receiver.chunk

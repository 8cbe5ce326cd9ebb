"""Trying again what may be repeated, on the loop."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from streams import declaring
from streams.connections.pool import Pool
from streams.declaring import WantedStream
from streams.errors import BrokerMisconfigured, BrokerUnavailable, Leaderless, Refused, StreamMissing

T = TypeVar("T")
# A refusal that passes by itself: internal error.
_PASSING = (15,)
ELECTION_S = 5.0
"""An election is over sooner. Whoever waits longer for one stream keeps others from a worker's process."""
_CREATED_AT_ONCE = 16


async def retry(attempt: Callable[[], Awaitable[T]], until: float) -> T:
    """Tries again after BrokerUnavailable until that `time.monotonic`; without a leader, for ELECTION_S."""
    pause = 0.02
    leaderless_since: float | None = None
    while True:
        try:
            return await attempt()
        except StreamMissing:
            raise
        except BrokerUnavailable as error:
            if isinstance(error, Refused) and error.code not in _PASSING:
                raise
            now = time.monotonic()
            leaderless_since = (leaderless_since or now) if isinstance(error, Leaderless) else None
            if leaderless_since is not None and now - leaderless_since >= ELECTION_S:
                raise
            pause = max(min(pause * 2, 1.0), min(error.retry_after_s, 1.0))
            if time.monotonic() + pause >= until:
                raise
            await asyncio.sleep(pause)


async def create_all(
    pool: Pool, streams: Sequence[WantedStream], until: float
) -> dict[str, BrokerUnavailable | BrokerMisconfigured]:
    """Creates the streams, 16 at once; returns what went wrong, by the stream's name."""
    failed: dict[str, BrokerUnavailable | BrokerMisconfigured] = {}
    room = asyncio.Semaphore(_CREATED_AT_ONCE)

    async def one(wanted: WantedStream) -> None:
        async with room:
            if time.monotonic() >= until:
                failed[wanted.name] = BrokerUnavailable(f"creating {wanted.name}: its time was over")
                return
            try:
                await retry(lambda: declaring.create(pool, wanted), until)
            except BrokerUnavailable as error:
                failed[wanted.name] = error

    await asyncio.gather(*map(one, streams))
    return failed

"""Where asyncio runs: in a thread of its own, or in a loop that the process has anyway."""

import asyncio
import concurrent.futures
import contextlib
import threading
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

from streams.errors import BrokerUnavailable

T = TypeVar("T")


class Runner(Protocol):
    """Runs coroutines for callers that wait."""

    loop: asyncio.AbstractEventLoop

    def call(self, work: Coroutine[Any, Any, T], deadline_s: float, doing: str) -> T: ...
    def stop(self, timeout_s: float) -> None: ...


class HostLoop:
    """The caller's own loop, of the thread that makes this; it is not stopped here.

    That thread may call before the loop runs and after it has ended, and any other while it runs.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._owner = threading.get_ident()

    def call(self, work: Coroutine[Any, Any, T], deadline_s: float, doing: str) -> T:
        """As `LoopThread.call`. Raises RuntimeError on the running loop, which must not wait."""
        if threading.get_ident() != self._owner:
            return _call(self.loop, work, deadline_s, doing)
        if self.loop.is_running() or self.loop.is_closed():
            work.close()
            raise RuntimeError(f"{doing} cannot be waited for on the loop that does it")
        try:
            return self.loop.run_until_complete(asyncio.wait_for(work, deadline_s))
        except TimeoutError:
            raise BrokerUnavailable(f"{doing}: no answer within {deadline_s} s") from None

    def stop(self, timeout_s: float) -> None:
        """Cancels what a loop that has ended has left undone, and waits for it for so long; a loop that runs
        still is the caller's, with all that is on it.
        """
        if threading.get_ident() == self._owner and not (self.loop.is_running() or self.loop.is_closed()):
            self.loop.run_until_complete(_cancel_the_others(timeout_s))


class LoopThread:
    """A thread with an event loop; started by the constructor, ended by `stop`."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="streams", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        self.loop.run_forever()

    def call(self, work: Coroutine[Any, Any, T], deadline_s: float, doing: str) -> T:
        """Runs `work` in the loop and waits for it.

        Raises BrokerUnavailable after `deadline_s`; whether the broker did what was asked is unknown then.
        """
        return _call(self.loop, work, deadline_s, doing)

    def stop(self, timeout_s: float) -> None:
        """Cancels what still runs, waits for it for so long, and ends the thread."""
        cancelling = asyncio.run_coroutine_threadsafe(_cancel_the_others(timeout_s), self.loop)
        with contextlib.suppress(TimeoutError):
            cancelling.result(2 * timeout_s)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout_s)
        if not self._thread.is_alive():
            self.loop.close()


def _call(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], deadline_s: float, doing: str) -> T:
    try:
        future = asyncio.run_coroutine_threadsafe(work, loop)
    except RuntimeError:
        # The loop is closed.
        work.close()
        raise BrokerUnavailable(f"{doing}: the Broker is closed") from None
    try:
        return future.result(deadline_s)
    except concurrent.futures.TimeoutError:
        future.cancel()
        raise BrokerUnavailable(f"{doing}: no answer within {deadline_s} s") from None
    except concurrent.futures.CancelledError:
        raise BrokerUnavailable(f"{doing}: the Broker is closed") from None


async def _cancel_the_others(within_s: float) -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        ended, _ = await asyncio.wait(others, timeout=within_s)
        for task in ended:
            # What went wrong in it is nobody's any more.
            _ = task.cancelled() or task.exception()

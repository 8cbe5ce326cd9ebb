"""The one thread in which asyncio runs."""

import asyncio
import concurrent.futures
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from streams.errors import BrokerUnavailable

T = TypeVar("T")


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
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(deadline_s)
        except concurrent.futures.TimeoutError:
            future.cancel()
            raise BrokerUnavailable(f"{doing}: no answer within {deadline_s} s") from None
        except concurrent.futures.CancelledError:
            raise BrokerUnavailable(f"{doing}: the Broker is closed") from None

    def stop(self, timeout_s: float) -> None:
        """Cancels what still runs and ends the thread."""
        asyncio.run_coroutine_threadsafe(_cancel_the_others(), self.loop).result(timeout_s)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout_s)
        if not self._thread.is_alive():
            self.loop.close()


async def _cancel_the_others() -> None:
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)

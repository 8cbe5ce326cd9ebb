"""A receiver's worker that is interrupted."""

import asyncio
import sys

import pytest

from webapp.serving.worker import LoopWorker


class InterruptedWorker(LoopWorker):
    """Met by SIGQUIT's handler, which raises SystemExit wherever the loop is."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.turns = 0

    async def _serve(self) -> None:
        self.loop.call_later(0.01, sys.exit, 0)
        while True:
            self.turns += 1
            await asyncio.sleep(0)


def test_nothing_of_an_interrupted_worker_goes_on_while_its_parts_are_closed() -> None:
    loop = asyncio.new_event_loop()
    worker = InterruptedWorker(loop)
    with pytest.raises(SystemExit):
        worker.run()
    turns = worker.turns
    loop.run_until_complete(asyncio.sleep(0.01))
    assert worker.turns == turns
    worker.end()

"""What is left on a loop when the streams' client says goodbye."""

import asyncio
import gc
import time
from collections.abc import Iterator

import pytest

from streams.connections.loop_thread import HostLoop, LoopThread, Runner

PATIENCE_S = 0.3


@pytest.fixture
def host() -> Iterator[HostLoop]:
    loop = asyncio.new_event_loop()
    yield HostLoop(loop)
    loop.close()


@pytest.fixture
def thread() -> LoopThread:
    return LoopThread()


@pytest.fixture(params=["host", "thread"])
def runner(request: pytest.FixtureRequest) -> Runner:
    found: Runner = request.getfixturevalue(request.param)
    return found


async def begin(ended: list[str]) -> None:
    """Tasks that nobody waits for: one that sleeps, one that fails at its end, one that does not end."""

    async def sleep() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("sleeps")

    async def fail() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            ended.append("fails")
            raise OSError("at its end")

    async def insist() -> None:
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                ended.append("insists")

    tasks = [asyncio.create_task(one()) for one in (sleep, fail, insist)]
    await asyncio.sleep(0)
    assert not any(task.done() for task in tasks)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_what_is_left_is_cancelled_and_waited_for_within_bounds(
    runner: Runner, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[str] = []
    runner.call(begin(ended), 10, "beginning")
    begun = time.monotonic()
    runner.stop(PATIENCE_S)
    assert PATIENCE_S <= time.monotonic() - begun < 10
    assert sorted(ended) == ["fails", "insists", "sleeps"]
    gc.collect()
    assert "never retrieved" not in caplog.text


def test_a_loop_that_runs_is_its_hosts(host: HostLoop) -> None:
    async def serve() -> str:
        task = asyncio.create_task(asyncio.sleep(0.1, "served"))
        await asyncio.to_thread(host.stop, PATIENCE_S)
        host.stop(PATIENCE_S)
        return await task

    assert host.loop.run_until_complete(serve()) == "served"

"""The crowd whose bodies do not come: every refusal counts, and it is open when every member has been."""

import asyncio
import json
import subprocess
import sys
from asyncio import StreamReader, StreamWriter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from bench.load import trickle
from deploy.local import ports

ROOT = Path(__file__).resolve().parents[2]
COUNT = 20
DEADLINE_S = 60.0
REFUSAL = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"

Handler = Callable[[StreamReader, StreamWriter], Awaitable[None]]


async def served(handler: Handler) -> tuple[asyncio.Server, int]:
    """A server of the test's own, and its port."""
    server = await asyncio.start_server(handler, "127.0.0.1", 0, backlog=4 * COUNT)
    port: int = server.sockets[0].getsockname()[1]
    return server, port


def test_refusals_that_come_at_once_are_all_counted() -> None:
    async def refused_and_said() -> int:
        waiting: list[StreamWriter] = []
        everybody, all_left, left = asyncio.Event(), asyncio.Event(), 0

        async def handler(reader: StreamReader, writer: StreamWriter) -> None:
            nonlocal left
            head = await reader.readuntil(b"\r\n\r\n")
            if b"Authorization" not in head and not everybody.is_set():
                waiting.append(writer)
                if len(waiting) == COUNT:
                    everybody.set()
                await everybody.wait()
                writer.write(REFUSAL)
                await reader.read()
                left += 1
                if left == COUNT:
                    all_left.set()
            else:  # held, without an answer
                await reader.read()
            writer.close()

        server, port = await served(handler)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bench.load.trickle", "127.0.0.1", str(port), "key", str(COUNT)),
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            async with asyncio.timeout(DEADLINE_S):
                assert json.loads(await process.stdout.readline()) == {"open": 2 * COUNT}
                await all_left.wait()
                process.stdin.close()
                said: dict[str, int] = json.loads(await process.stdout.readline())
                await process.wait()
        finally:
            if process.returncode is None:
                process.kill()
            server.close()
        return said["refused"]

    assert asyncio.run(refused_and_said()) == COUNT


def test_a_member_that_comes_again_does_not_stand_for_one_that_never_came(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    connect, first = asyncio.open_connection, set[Any]()

    async def of_the_first_alone(*where: Any) -> Any:
        first.update([] if first else [asyncio.current_task()])
        if asyncio.current_task() not in first:
            raise ConnectionRefusedError
        return await connect(*where)

    async def until_it_came_three_times() -> None:
        came = asyncio.Semaphore(0)

        async def handler(_: StreamReader, writer: StreamWriter) -> None:
            writer.close()
            came.release()

        server, port = await served(handler)
        crowd = asyncio.create_task(trickle.main("127.0.0.1", port, "key", 1))
        async with asyncio.timeout(DEADLINE_S):
            for _ in range(3):
                await came.acquire()
        crowd.cancel()
        server.close()

    monkeypatch.setattr(asyncio, "open_connection", of_the_first_alone)
    asyncio.run(until_it_came_three_times())
    assert capsys.readouterr().out == ""


def test_a_crowd_that_cannot_be_opened_ends_without_a_word() -> None:
    [closed] = ports.free(1)
    words = (
        "import asyncio; from bench.load import trickle; trickle.OPEN_WITHIN_S = 0.5;"
        f"asyncio.run(trickle.main('127.0.0.1', {closed}, 'key', 1))"
    )
    done = subprocess.run(
        [sys.executable, "-c", words], cwd=ROOT, capture_output=True, text=True, timeout=DEADLINE_S
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "TimeoutError" in done.stderr

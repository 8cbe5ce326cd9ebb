"""A TCP proxy that hands every answer of a server on a while later, in a process of its own.

`python -m bench.load.delaying HOST PORT` says the port that it listens on; each line of its input is the
delay in seconds from then on. Answers are late, not slow: what comes together goes together.
"""

import asyncio
import contextlib
import sys
from collections.abc import Callable

_BUFFER = 256 * 1024
_MOST_WAITING = 1_000  # pieces of one connection's answers; then the server waits too


class Delay:
    seconds = 0.0


async def serve(host: str, port: int) -> None:
    delay, loop = Delay(), asyncio.get_running_loop()

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_connection(host, port)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            async with asyncio.TaskGroup() as ways:
                ways.create_task(_pass_on(reader, back, lambda: 0.0))
                ways.create_task(_pass_on(there, writer, lambda: delay.seconds))

    server = await asyncio.start_server(meet, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        delay.seconds = float(line)


async def _pass_on(
    source: asyncio.StreamReader, sink: asyncio.StreamWriter, delay_s: Callable[[], float]
) -> None:
    """Until the source ends; the sink is ended then too."""
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_MOST_WAITING)

    async def write() -> None:
        while data := (piece := await waiting.get())[1]:
            await asyncio.sleep(max(0.0, piece[0] - loop.time()))
            sink.write(data)
            await sink.drain()
        sink.close()

    async with asyncio.TaskGroup() as group:
        group.create_task(write())
        data = b"-"
        while data:
            data = await source.read(_BUFFER)
            await waiting.put((loop.time() + delay_s(), data))


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], int(sys.argv[2])))

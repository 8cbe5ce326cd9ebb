"""Opens connections whose bodies do not come: `python -m bench.load.trickle HOST PORT KEY COUNT`.

COUNT have the key and send a byte of their bodies a second, and COUNT have none and send nothing; each comes
again a second after it was answered or hung up on. Says in one line of JSON when each has been open; when its
input ends, in another how many of those without a key were refused. Fails, without a line, when they can't
be opened.
"""

import asyncio
import contextlib
import json
import resource
import sys

BODY_BYTES = 100_000
AT_ONCE = 64
AGAIN_S = 1.0
OPEN_WITHIN_S = 60.0


async def main(host: str, port: int, key: str, count: int) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    refused = 0
    opening = asyncio.Semaphore(AT_ONCE)

    async def connect(lines: str, opened: asyncio.Event) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with opening:
            reader, writer = await asyncio.open_connection(host, port)
        head = f"POST /v1/batches HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-ndjson\r\n{lines}\r\n"
        writer.write(head.encode())
        opened.set()
        return reader, writer

    async def slow(opened: asyncio.Event) -> None:
        while True:
            with contextlib.suppress(OSError):
                lines = f"Authorization: Bearer {key}\r\nContent-Length: {BODY_BYTES}\r\n"
                reader, writer = await connect(lines, opened)
                while not reader.at_eof():
                    writer.write(b"x")
                    await writer.drain()
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(reader.read(1000), AGAIN_S)
                writer.close()
            await asyncio.sleep(AGAIN_S)

    async def stranger(opened: asyncio.Event) -> None:
        nonlocal refused
        while True:
            with contextlib.suppress(OSError):
                reader, writer = await connect("Content-Length: 1000\r\n", opened)
                answer = await reader.read(1000)
                refused += answer.startswith(b"HTTP/1.1 401")
                writer.close()
            await asyncio.sleep(AGAIN_S)

    members = [(one, asyncio.Event()) for _ in range(count) for one in (slow, stranger)]
    crowd = [asyncio.create_task(one(opened)) for one, opened in members]
    async with asyncio.timeout(OPEN_WITHIN_S):
        for _, opened in members:
            await opened.wait()
    print(json.dumps({"open": len(crowd)}), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    print(json.dumps({"refused": refused}), flush=True)
    for one in crowd:
        one.cancel()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])))

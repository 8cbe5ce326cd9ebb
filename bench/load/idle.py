"""Opens keep-alive connections and leaves them alone: `python -m bench.load.idle HOST PORT COUNT SOURCE`.

Each has had one request answered. Says in one line of JSON when all are open; when its input ends, in another
how many still are. SOURCE is the loopback address they come from: one has 28,000 ports for one server.
"""

import json
import resource
import select
import socket
import sys
import time

REQUEST = b"GET /healthz HTTP/1.1\r\nHost: crowd\r\n\r\n"
AT_ONCE = 64


def main(host: str, port: int, count: int, source: str) -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    began = time.monotonic()
    crowd: list[socket.socket] = []
    while len(crowd) < count:
        crowd += _some(host, port, min(AT_ONCE, count - len(crowd)), source)
    print(json.dumps({"open": len(crowd), "seconds": time.monotonic() - began}), flush=True)
    sys.stdin.read()
    print(json.dumps({"open": sum(map(_is_open, crowd))}), flush=True)


def _some(host: str, port: int, count: int, source: str) -> list[socket.socket]:
    """So many connections, each with its first answer read."""
    lines = [socket.create_connection((host, port), 30, (source, 0)) for _ in range(count)]
    for line in lines:
        line.sendall(REQUEST)
    for line in lines:
        said = line.recv(4096)
        if not said.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(f"an idle connection was answered {said[:40]!r}")
        line.setblocking(False)
    return lines


def _is_open(line: socket.socket) -> bool:
    poll = select.poll()
    poll.register(line, select.POLLIN)
    return not poll.poll(0)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])

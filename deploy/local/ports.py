"""Free loopback ports that no outgoing connection can take before the server listens on them."""

import random
import socket
from collections import deque
from pathlib import Path

HOST = "127.0.0.1"
# Names that say which ports were found last: nobody else finds them before their server listens.
_found: deque[socket.socket] = deque(maxlen=100)
_RANGE_FILE = Path("/proc/sys/net/ipv4/ip_local_port_range")


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As servers do: a port whose last connections are in TIME_WAIT counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def accepts(port: int, *, timeout_s: float = 1.0) -> bool:
    """True when something on this machine takes a TCP connection on the port."""
    try:
        socket.create_connection((HOST, port), timeout=timeout_s).close()
    except OSError:
        return False
    return True


def free(count: int) -> list[int]:
    """`count` different free ports below the kernel's ephemeral range, which no process on this machine was
    given by this function and still holds: each holds the last hundred that it was given.

    Raises OSError when a thousand random tries find too few.
    """
    chosen: list[int] = []
    for _ in range(1000):
        if len(chosen) == count:
            return chosen
        port = random.randrange(10_000, _first_ephemeral())  # noqa: S311 - guessable is fine
        if is_free(port) and _held(port):
            chosen.append(port)
    raise OSError(f"only {len(chosen)} of {count} free ports found on {HOST}")


def _held(port: int) -> bool:
    """Hold the port for this process; false when it is held, by this one or another."""
    holding = socket.socket(socket.AF_UNIX)
    try:
        # An abstract name, which goes with the process that has it.
        holding.bind(f"\0sluice-port-{port}")
    except OSError:
        holding.close()
        return False
    if len(_found) == _found.maxlen:
        _found.popleft().close()
    _found.append(holding)
    return True


def _first_ephemeral() -> int:
    try:
        first = int(_RANGE_FILE.read_text().split()[0])
    except OSError:
        return 32_768
    return first if first > 12_000 else 65_536

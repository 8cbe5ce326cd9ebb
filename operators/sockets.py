"""The socket of the operators' address."""

import socket

_WAITING = 32


def listen(bind: str) -> socket.socket:
    """Listen at `bind` (host:port). Raises `OSError` when the address cannot be had."""
    host, _, port = bind.rpartition(":")
    host = host.strip("[]")
    v6 = ":" in host
    family = socket.AF_INET6 if v6 else socket.AF_INET
    return socket.create_server((host, int(port)), family=family, backlog=_WAITING, dualstack_ipv6=v6)

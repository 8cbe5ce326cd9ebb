"""How many requests came of each address in this minute, in memory of a fixed size that all workers share.

A count-min sketch (Cormode, Muthukrishnan, 2005) with two rows: each address has a cell in both; its count
is the lesser one. An address that shares both its cells with others shares its allowance with them, too, so
that a full table makes the bound stricter and never looser. Which cells it has nobody outside can calculate.
"""

import ipaddress
import secrets
import struct
import time
from hashlib import blake2b

from webapp.limits.locked_memory import LockedMemory

CELLS = 65_536
"""Of a row. With 10,000 addresses in a minute one in fifty shares both its cells."""
MINUTE_S = 60.0
_CELL = struct.Struct("=qq")
_PLACES = struct.Struct("=HH")


class AddressCounts:
    """Thread-safe. Shared with every process that is forked from its maker and follows it."""

    def __init__(self) -> None:
        self._secret = secrets.token_bytes(32)
        self._memory = LockedMemory("sluice-addresses", 2 * CELLS * _CELL.size)

    def follow(self, other: "AddressCounts") -> None:
        """Share the memory of `other` from now on."""
        self._secret = other._secret
        self._memory.follow(other._memory)

    def count(self, key_id: int, address: str, most: int, now_s: float | None = None) -> float:
        """Count a request; of more than `most` in a minute none is counted, and the seconds are returned
        until the minute is over, else 0. `now_s`: `time.monotonic`, if it is known.
        """
        now_s = time.monotonic() if now_s is None else now_s
        minute = int(now_s // MINUTE_S)
        named = f"{key_id} {network(address)}".encode()
        first, second = _PLACES.unpack(blake2b(named, digest_size=_PLACES.size, key=self._secret).digest())
        places = (first * _CELL.size, (CELLS + second) * _CELL.size)
        with self._memory.locked(0):
            counts = [self._read(place, minute) for place in places]
            if min(counts) >= most:
                return MINUTE_S - now_s % MINUTE_S
            for place, count in zip(places, counts, strict=True):
                _CELL.pack_into(self._memory.page, place, minute, count + 1)
        return 0.0

    def _read(self, place: int, minute: int) -> int:
        then, count = _CELL.unpack_from(self._memory.page, place)
        return int(count) if then == minute else 0


def network(address: str) -> str:
    """What counts as one address: a host of IPv4, and the first 64 bits of IPv6, which one host has whole.

    Some proxies write the port behind it, and IPv6 in brackets then.
    """
    if ":" not in address:
        return address[:64]
    if address.startswith("["):
        host = address[1:].partition("]")[0]
    else:
        host = address.partition(":")[0] if address.count(":") == 1 else address
    try:
        found = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return address[:64]
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    return str(found.ipv4_mapped) if found.ipv4_mapped else found.packed[:8].hex()

"""What was let in and refused of each public key on a day, in memory that all workers of a receiver share."""

import secrets
import struct
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from db.customers.public_key_use import KeyUse, WrittenUse
from webapp.limits.locked_memory import LockedMemory

GROUPS = 2048
WAYS = 4
"""Keys that are remembered at once, in groups. With more, the one of its group that was quiet for longest is
forgotten, and its use of the day is what the database knows."""
_SLOT = struct.Struct("=qdqqqqqq")


@dataclass(slots=True)
class KeyMeter:
    """One key's counts of `day` (since 1970, UTC). `bytes`, `batches`, `refused` are this receiver's, the
    others' are what they wrote. `at_s` is monotonic.
    """

    key_id: int
    at_s: float = 0.0
    day: int = 0
    bytes: int = 0
    batches: int = 0
    refused: int = 0
    other_bytes: int = 0
    other_batches: int = 0

    def begin_day(self, day: int) -> None:
        """Forget what was counted before the day."""
        if self.day < day:
            self.day, self.bytes, self.batches, self.refused = day, 0, 0, 0
            self.other_bytes, self.other_batches = 0, 0

    @property
    def own(self) -> KeyUse:
        return KeyUse(self.bytes, self.batches, self.refused)

    def learn(self, written: WrittenUse) -> None:
        """What receivers wrote of the day: of this one it counts when the meter knows nothing itself."""
        if self.own == KeyUse():
            self.bytes, self.batches, self.refused = written.own
        self.other_bytes, self.other_batches = written.others.bytes, written.others.batches


class KeyMeters:
    """Thread-safe. Shared with every process that is forked from its maker and follows it."""

    def __init__(self) -> None:
        self.receiver = secrets.token_hex(8)
        self._memory = LockedMemory("sluice-key-meters", GROUPS * WAYS * _SLOT.size)

    def follow(self, other: "KeyMeters") -> None:
        """Share the memory of `other` from now on."""
        self.receiver = other.receiver
        self._memory.follow(other._memory)

    @contextmanager
    def open(self, key_id: int, day: int) -> Iterator[KeyMeter]:
        """The key's meter of the day, to be changed; nobody else does meanwhile. Blocks for moments."""
        group = key_id % GROUPS
        with self._memory.locked(group):
            place, meter = self._find(group, key_id)
            meter.begin_day(day)
            yield meter
            meter.at_s = time.monotonic()
            _SLOT.pack_into(
                self._memory.page,
                place,
                meter.key_id,
                meter.at_s,
                meter.day,
                meter.bytes,
                meter.batches,
                meter.refused,
                meter.other_bytes,
                meter.other_batches,
            )

    def _find(self, group: int, key_id: int) -> tuple[int, KeyMeter]:
        oldest, oldest_s = 0, float("inf")
        for way in range(WAYS):
            place = (group * WAYS + way) * _SLOT.size
            values = _SLOT.unpack_from(self._memory.page, place)
            if values[0] == key_id:
                return place, KeyMeter(*values)
            if values[1] < oldest_s:
                oldest, oldest_s = place, values[1]
        return oldest, KeyMeter(key_id)

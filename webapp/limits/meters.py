"""What was let in of each limited customer, in memory that all workers of a receiver share.

A lock guards each group of customers. What a worker has under way is written in a lane of its own, which the
next worker that finds it free wipes.
"""

import os
import secrets
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from webapp.limits.leaky_bucket import left
from webapp.limits.locked_memory import LockedMemory

GROUPS = 4096
WAYS = 8
SLOTS = GROUPS * WAYS
"""Limited customers that are remembered at once. With more, the one of its group that was quiet for longest
is forgotten: its buckets are empty again, and its quota is what the database knows."""

_SLOT = struct.Struct("=qdddqqq")
_LANE = struct.Struct("=qq")


@dataclass(slots=True)
class Meter:
    """One customer's counts. `at_s` is monotonic, days are since 1970 in UTC; `used` are the bytes accepted
    on `day` by this receiver, `others` by all others. `requests` and `held` (bytes) are under way in it.
    """

    customer_id: int
    bytes_spent: float = 0.0
    batches_spent: float = 0.0
    at_s: float = 0.0
    day: int = 0
    used: int = 0
    others: int = 0
    requests: int = 0
    held: int = 0

    def advance(self, now_s: float, day: int, bytes_rate: float | None, batches_rate: float | None) -> None:
        """Let the time pass until `now_s`; without a rate there is nothing to work off."""
        elapsed = now_s - self.at_s
        self.bytes_spent = left(self.bytes_spent, bytes_rate, elapsed) if bytes_rate else 0.0
        self.batches_spent = left(self.batches_spent, batches_rate, elapsed) if batches_rate else 0.0
        self.at_s = now_s
        self.begin_day(day)

    def begin_day(self, day: int) -> None:
        """Forget what was used before the day."""
        if self.day < day:
            self.day, self.used, self.others = day, 0, 0


class Meters:
    """Thread-safe. Shared with every process that is forked from its maker and follows it."""

    def __init__(self, lanes: int) -> None:
        self.receiver = secrets.token_hex(8)
        self._lanes = lanes
        self._lane = 0
        self._lanes_at = SLOTS * _SLOT.size
        self._lane_size = SLOTS * _LANE.size
        self._memory = LockedMemory("sluice-meters", self._lanes_at + lanes * self._lane_size)
        self._page = self._memory.page

    def follow(self, other: "Meters") -> None:
        """Share the memory of `other` from now on, with a lane of this process's own."""
        self.receiver, self._lanes = other.receiver, other._lanes
        self._memory.follow(other._memory)
        self._page = self._memory.page
        self._lane = self._free_lane()

    @contextmanager
    def open(self, customer_id: int, *, under_way: bool = True) -> Iterator[Meter]:
        """The customer's meter, to be changed; nobody else does meanwhile. Blocks for moments.

        `requests` and `held` change by what this process adds to them; without `under_way` they are not read,
        which is faster.
        """
        group = customer_id % GROUPS
        with self._memory.locked(group):
            slot, meter = self._find(group, customer_id, under_way)
            requests, held = meter.requests, meter.held
            yield meter
            self._write(slot, meter, meter.requests - requests, meter.held - held)

    def _find(self, group: int, customer_id: int, under_way: bool) -> tuple[int, Meter]:
        oldest, oldest_s = group * WAYS, float("inf")
        for slot in range(group * WAYS, (group + 1) * WAYS):
            values = _SLOT.unpack_from(self._page, slot * _SLOT.size)
            if values[0] == customer_id:
                meter = Meter(*values)
                for lane in range(self._lanes if under_way else 0):
                    requests, held = _LANE.unpack_from(self._page, self._cell(lane, slot))
                    meter.requests += requests
                    meter.held += held
                return slot, meter
            if values[0] == 0:
                oldest = slot
                break
            if values[3] < oldest_s:
                oldest, oldest_s = slot, values[3]
        for lane in range(self._lanes):
            _LANE.pack_into(self._page, self._cell(lane, oldest), 0, 0)
        return oldest, Meter(customer_id)

    def _write(self, slot: int, meter: Meter, requests: int, held: int) -> None:
        if requests or held:
            cell = self._cell(self._lane, slot)
            before = _LANE.unpack_from(self._page, cell)
            # The slot may have been another customer's in between.
            _LANE.pack_into(self._page, cell, max(0, before[0] + requests), max(0, before[1] + held))
        _SLOT.pack_into(
            self._page,
            slot * _SLOT.size,
            meter.customer_id,
            meter.bytes_spent,
            meter.batches_spent,
            meter.at_s,
            meter.day,
            meter.used,
            meter.others,
        )

    def _cell(self, lane: int, slot: int) -> int:
        return self._lanes_at + lane * self._lane_size + slot * _LANE.size

    def _free_lane(self) -> int:
        """A lane whose owner is gone, locked for the life of this process; all such lanes are wiped."""
        mine = None
        for lane in range(self._lanes):
            if not self._memory.try_lock(GROUPS + lane):
                continue
            start = self._cell(lane, 0)
            # A lane that was never used takes no memory, neither when it is read nor when it is left alone.
            if os.pread(self._memory.file, self._lane_size, start).strip(b"\0"):
                self._page[start : start + self._lane_size] = bytes(self._lane_size)
            if mine is None:
                mine = lane
            else:
                self._memory.unlock(GROUPS + lane)
        # More workers than lanes: what the surplus has under way when it is killed stays counted.
        return self._lanes - 1 if mine is None else mine

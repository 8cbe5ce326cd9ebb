"""What was let in of each customer or public key, in memory that all workers of a receiver share.

A lock guards each group of meters. What a worker has under way is written in a lane of its own, which the
next worker that finds it free wipes.
"""

import os
import secrets
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from operator import attrgetter
from typing import Any, ClassVar, Generic, TypeVar

from db.customers.day_use import U, Written
from webapp.limits.locked_memory import LockedMemory

_LANE = struct.Struct("=qq")
_LANE_FIELDS = ("requests", "held")


@dataclass(slots=True)
class Meter(ABC, Generic[U]):
    """One meter's counts of `day` (since 1970, UTC), of this receiver and of others, as they wrote them.

    `at_s` is when it was last open, monotonic. `learned` is 1 once it holds what this receiver wrote before.
    `requests` and `held` (bytes) are under way. A kind adds what it counts, as float or int.
    """

    NAME: ClassVar[str]
    GROUPS: ClassVar[int]
    WAYS: ClassVar[int]
    """GROUPS × WAYS meters are remembered at once. With more, the one of its group that was quiet for longest
    is forgotten, with what it counted and had not written yet."""

    requests: int = 0
    held: int = 0
    id: int = 0
    at_s: float = 0.0
    day: int = 0
    learned: int = 0

    @property
    @abstractmethod
    def own(self) -> U:
        """What this receiver counted on the day, which only grows."""

    @abstractmethod
    def forget(self) -> None:
        """Count a day from nothing."""

    @abstractmethod
    def add(self, written: Written[U]) -> None:
        """What receivers wrote of the day: what this one wrote is added, unless it was `learned`."""

    def begin_day(self, day: int) -> None:
        """Forget what was counted before the day."""
        if self.day < day:
            self.day = day
            self.forget()

    def learn(self, written: Written[U] | None) -> None:
        """What receivers wrote of the day; None for nothing."""
        if written is not None:
            self.add(written)
        self.learned = 1


M = TypeVar("M", bound=Meter[Any])


class Meters(Generic[M]):
    """Thread-safe. Shared with every process that is forked from its maker and follows it.

    `kind` are its meters, `lanes` how many processes can have something under way.
    """

    def __init__(self, kind: type[M], lanes: int) -> None:
        self.receiver = secrets.token_hex(8)
        self._kind = kind
        self._lanes = lanes
        self._lane = 0
        counts = [field for field in fields(kind) if field.name not in _LANE_FIELDS]
        self._counts = attrgetter(*(field.name for field in counts))
        self._slot = struct.Struct("=" + "".join("d" if field.type is float else "q" for field in counts))
        self._slots = kind.GROUPS * kind.WAYS
        self._lanes_at = self._slots * self._slot.size
        self._lane_size = self._slots * _LANE.size
        self._memory = LockedMemory(f"sluice-{kind.NAME}", self._lanes_at + lanes * self._lane_size)
        self._page = self._memory.page

    def follow(self, other: "Meters[M]") -> None:
        """Share the memory of `other` from now on, with a lane of this process's own."""
        self.receiver, self._lanes = other.receiver, other._lanes
        self._memory.follow(other._memory)
        self._page = self._memory.page
        self._lane = self._free_lane()

    @contextmanager
    def open(self, meter_id: int, day: int, *, under_way: bool = True) -> Iterator[M]:
        """The meter of a customer or key on the day, to be changed; nobody else does meanwhile. Blocks for
        moments.

        `requests` and `held` change by what this process adds to them; without `under_way` they are not read,
        which is faster.
        """
        group = meter_id % self._kind.GROUPS
        with self._memory.locked(group):
            slot, meter = self._find(group, meter_id, under_way)
            requests, held = meter.requests, meter.held
            meter.begin_day(day)
            yield meter
            meter.at_s = time.monotonic()
            self._write(slot, meter, meter.requests - requests, meter.held - held)

    def look(self, meter_id: int) -> M | None:
        """The meter as it is, without what is under way; None for one that is not remembered. Waits for
        nobody: what others are just writing of it can be half of it.
        """
        first = meter_id % self._kind.GROUPS * self._kind.WAYS
        for slot in range(first, first + self._kind.WAYS):
            values = self._slot.unpack_from(self._page, slot * self._slot.size)
            if values[0] == meter_id:
                return self._kind(0, 0, *values)
        return None

    def _find(self, group: int, meter_id: int, under_way: bool) -> tuple[int, M]:
        ways = self._kind.WAYS
        oldest, oldest_s = group * ways, float("inf")
        for slot in range(group * ways, (group + 1) * ways):
            values = self._slot.unpack_from(self._page, slot * self._slot.size)
            if values[0] == meter_id:
                requests = held = 0
                for lane in range(self._lanes if under_way else 0):
                    begun = _LANE.unpack_from(self._page, self._cell(lane, slot))
                    requests += begun[0]
                    held += begun[1]
                return slot, self._kind(requests, held, *values)
            if values[0] == 0:
                oldest = slot
                break
            if values[1] < oldest_s:
                oldest, oldest_s = slot, values[1]
        for lane in range(self._lanes):
            _LANE.pack_into(self._page, self._cell(lane, oldest), 0, 0)
        return oldest, self._kind(id=meter_id)

    def _write(self, slot: int, meter: M, requests: int, held: int) -> None:
        if requests or held:
            cell = self._cell(self._lane, slot)
            before = _LANE.unpack_from(self._page, cell)
            # The slot may have been another's in between.
            _LANE.pack_into(self._page, cell, max(0, before[0] + requests), max(0, before[1] + held))
        self._slot.pack_into(self._page, slot * self._slot.size, *self._counts(meter))

    def _cell(self, lane: int, slot: int) -> int:
        return self._lanes_at + lane * self._lane_size + slot * _LANE.size

    def _free_lane(self) -> int:
        """A lane whose owner is gone, locked for the life of this process; all such lanes are wiped."""
        mine = None
        for lane in range(self._lanes):
            if not self._memory.try_lock(self._kind.GROUPS + lane):
                continue
            start = self._cell(lane, 0)
            # A lane that was never used takes no memory, neither when it is read nor when it is left alone.
            if os.pread(self._memory.file, self._lane_size, start).strip(b"\0"):
                self._page[start : start + self._lane_size] = bytes(self._lane_size)
            if mine is None:
                mine = lane
            else:
                self._memory.unlock(self._kind.GROUPS + lane)
        # More workers than lanes: what the surplus has under way when it is killed stays counted.
        return self._lanes - 1 if mine is None else mine

"""Numbers by name in memory of a fixed size, which processes forked from its maker share.

The memory has no name in any file system, so that no full disk is in its way, and goes with the last process.
Each writing process has a lane of its own; a record lock, which the kernel takes back from a process that
dies, says whose. The next process to take the lane goes on with the counts that are in it: they never go
back, and nothing is left over.
"""

import fcntl
import mmap
import os
import struct
from collections.abc import Iterator

from operators.board import Board
from operators.signs import Signs

_HEAD = struct.Struct("=qqq")  # of the memory: lanes, bytes of each, bytes of the board's text
_USED = struct.Struct("=q")  # of a lane: the bytes in use, this number's included
_NAME = struct.Struct("=q")  # of an entry: bytes of its name, which is padded to 8
_CELL = struct.Struct("=dd")  # and its number with the time that it was set at


class Lane:
    """One process's part. Not thread-safe."""

    def __init__(self, page: memoryview) -> None:
        self._page = page
        self._cells: dict[bytes, int] = {}
        self._end = _USED.size
        for name, at in self._entries():
            self._cells[name] = at
            self._end = at + _CELL.size

    def cell(self, name: bytes) -> int | None:
        """Where the number of this name is; a new one begins at 0. None when the lane is full."""
        if (known := self._cells.get(name)) is not None:
            return known
        at = self._end + _NAME.size + _padded(len(name))
        if at + _CELL.size > len(self._page):
            return None
        self._write(self._end, _NAME.pack(len(name)) + name)
        self._write(at, _CELL.pack(0.0, 0.0))
        # The entry is there from here on; if we die before, its bytes are written over.
        self._end = at + _CELL.size
        self._write(0, _USED.pack(self._end))
        self._cells[name] = at
        return at

    def get(self, cell: int) -> tuple[float, float]:
        """The number, and when it was set (seconds since 1970, 0 when nobody said)."""
        value, set_at_s = _CELL.unpack_from(self._page, cell)
        return value, set_at_s

    def set(self, cell: int, value: float, set_at_s: float = 0.0) -> None:
        """Change the number."""
        self._write(cell, _CELL.pack(value, set_at_s))

    def _write(self, at: int, data: bytes) -> None:
        """In one copy: `pack_into` writes zeros first, and others read meanwhile."""
        self._page[at : at + len(data)] = data

    def numbers(self) -> Iterator[tuple[bytes, float, float]]:
        """Name, number and when it was set of each; another process may be writing."""
        for name, at in self._entries():
            yield name, *self.get(at)

    def _entries(self) -> Iterator[tuple[bytes, int]]:
        (used,) = _USED.unpack_from(self._page, 0)
        at = _USED.size
        while at < used:
            (length,) = _NAME.unpack_from(self._page, at)
            begin = at + _NAME.size
            cell = begin + _padded(length)
            yield bytes(self._page[begin : begin + length]), cell
            at = cell + _CELL.size


class Memory:
    """So many lanes of `lane_bytes` each, a board for a text, and the signs of life of the process that made
    it. Pages that nobody has written take no memory.
    """

    def __init__(self, *, lanes: int, lane_bytes: int, board_bytes: int = 0) -> None:
        self._open(os.memfd_create("sluice-metrics"), lanes, _padded(lane_bytes), _padded(board_bytes))

    @classmethod
    def of(cls, file: int) -> "Memory":
        """The memory that another process made, by the descriptor inherited from it."""
        memory = cls.__new__(cls)
        memory._open(file, *_HEAD.unpack(os.pread(file, _HEAD.size, 0)))
        return memory

    def _open(self, file: int, lanes: int, lane_bytes: int, board_bytes: int) -> None:
        self.file = file
        board = _HEAD.size + Signs.SIZE
        self._first_lane = board + Board.size(board_bytes)
        size = self._first_lane + lanes * lane_bytes
        os.ftruncate(file, size)
        self._page = memoryview(mmap.mmap(file, size))
        self._page[: _HEAD.size] = _HEAD.pack(lanes, lane_bytes, board_bytes)
        self._lanes, self._lane_bytes = lanes, lane_bytes
        self.signs = Signs(self._page[_HEAD.size : board])
        self.board = Board(self._page[board : self._first_lane])

    def take(self) -> Lane | None:
        """A lane that nobody writes to, until this process ends; None when there is none."""
        for number in range(self._lanes):
            try:
                fcntl.lockf(self.file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number)
            except OSError:
                continue
            return self._lane(number)
        return None

    def lanes(self) -> Iterator[Lane]:
        """All of them, to be read."""
        for number in range(self._lanes):
            yield self._lane(number)

    def _lane(self, number: int) -> Lane:
        begin = self._first_lane + number * self._lane_bytes
        return Lane(self._page[begin : begin + self._lane_bytes])


def _padded(length: int) -> int:
    return (length + 7) // 8 * 8

"""What processes have used, from /proc: CPU seconds, bytes written, peak memory, by role."""

import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """`written` are the bytes that went to the storage layer: pages made dirty, each once until written."""

    cpu_s: float = 0.0
    written: int = 0

    def __add__(self, other: "Used") -> "Used":
        return Used(cpu_s=self.cpu_s + other.cpu_s, written=self.written + other.written)

    def __sub__(self, other: "Used") -> "Used":
        return Used(cpu_s=self.cpu_s - other.cpu_s, written=self.written - other.written)


def descendants(pid: int) -> Iterator[int]:
    """The process and all its living descendants."""
    yield pid
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in children.read_text().split():
                yield from descendants(int(child))


def used(pids: list[int]) -> Used:
    """Of the processes with all their descendants, since they were started.

    Linux adds what a child has used to its parent's sums when the parent collects it, so that the total never
    falls while the roots live.
    """
    total = Used()
    for root in pids:
        for pid in descendants(root):
            with suppress(OSError):
                total += _one(pid)
    return total


def by_role(roles: Mapping[str, list[int]]) -> dict[str, Used]:
    """`used` of the root pids of each role."""
    return {role: used(pids) for role, pids in roles.items()}


def since(before: Mapping[str, Used], now: Mapping[str, Used]) -> dict[str, Used]:
    """The difference of two `by_role`."""
    return {role: now[role] - before.get(role, Used()) for role in now}


def peak_memory(pid: int) -> int:
    """Most resident bytes that one process has had; 0 when it is gone."""
    return _status(pid, "VmHWM:")


def resident(pid: int) -> int:
    """Resident bytes of one process now; 0 when it is gone."""
    return _status(pid, "VmRSS:")


def _status(pid: int, name: str) -> int:
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0


def _one(pid: int) -> Used:
    # The command's name stands in brackets and may itself hold blanks and brackets. Fields 14 to 17 are user
    # and system time, own and of collected children.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    cpu_s = sum(int(ticks) for ticks in fields[11:15]) * _TICK_S
    written = 0
    with suppress(OSError):  # another user's process shows its CPU, but not its writes
        for line in Path(f"/proc/{pid}/io").read_text().splitlines():
            if line.startswith("write_bytes:"):
                written = int(line.split()[1])
    return Used(cpu_s=cpu_s, written=written)

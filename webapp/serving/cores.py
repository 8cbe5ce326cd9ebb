"""Which processor each gunicorn worker runs on, and how much of it when others want it too."""

import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from pathlib import Path


def free_core(allowed: Collection[int], taken: Sequence[int]) -> int:
    """The core that the fewest workers have, of those that this process may use.

    A worker's threads take turns, since only one of them can hold the interpreter's lock. On two cores each
    turn wakes the other core: on one, a request costs a third less. nginx calls it `worker_cpu_affinity`.
    """
    return min(sorted(allowed), key=taken.count)


def step_back(nice: int) -> None:
    """Let every other process of the machine go first, by so much niceness.

    Under a flood reception takes all the time that it is given, and what was accepted waits for broker,
    dispatcher, workers and database. Where the kernel shares the processor out by session, the session's
    niceness has to say it too (sched(7), "The autogroup feature"); under cgroups their weights decide.
    """
    os.nice(nice)
    with suppress(OSError):
        Path("/proc/self/autogroup").write_text(str(nice))

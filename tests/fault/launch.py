"""Starts a process of ours with the fault points of its role planted and a clock that can jump.

    python -m tests.fault.launch CONTROL ROLE -m MODULE ARGUMENT…

CONTROL is a folder. A file `armed-<point>` in it holds a signal's name: the first process that reaches the
point takes the file away, leaves its pid in `fired-<point>` and sends itself that signal. While a file
`clock` is there, the wall clock shows as many seconds more (or less) as it says; a file `clock-ROLE` does
so for the processes of that role alone, in addition. FAULT_RELEASE=later in the
environment makes the process write what a later release might; FAULT_WITHOUT takes a mechanism out of it.
Forks inherit all of it.
"""

import importlib
import importlib.abc
import importlib.machinery
import os
import runpy
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import wraps
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.fault import mutants, releases
from tests.fault.points import POINTS, Point

Wrap = Callable[[ModuleType], None]


def main(arguments: list[str]) -> None:
    control, role, flag, module, *rest = arguments
    assert flag == "-m", "usage: python -m tests.fault.launch CONTROL ROLE -m MODULE ARGUMENT…"
    _plant_clock(Path(control) / "clock", Path(control) / f"clock-{role}")
    plans: dict[str, list[Wrap]] = {}
    for point in POINTS:
        if point.role == role:
            plans.setdefault(point.target.partition(":")[0], []).append(_wrapping(point, Path(control)))
    if os.environ.get("FAULT_RELEASE") == "later":
        for target, wrap in releases.LATER[role].items():
            plans.setdefault(target, []).append(wrap)
    for target, wrap in mutants.MUTANTS.get(os.environ.get("FAULT_WITHOUT", ""), {}).items():
        plans.setdefault(target, []).append(wrap)
    sys.meta_path.insert(0, _PatchingFinder(plans))
    sys.argv = [module, *rest]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


class _PatchingFinder(importlib.abc.MetaPathFinder):
    """Wraps functions of a module as soon as it has been loaded, by whichever process loads it."""

    def __init__(self, plans: dict[str, list[Wrap]]) -> None:
        self._plans = plans

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        wraps_of = self._plans.get(fullname)
        if wraps_of is None:
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and spec.loader is not None:
            load = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                load(module)
                for wrap in wraps_of:
                    wrap(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _wrapping(point: Point, control: Path) -> Wrap:
    def wrap(module: ModuleType) -> None:
        *owners, name = point.target.partition(":")[2].split(".")
        owner: Any = module
        for each in owners:
            owner = getattr(owner, each)
        setattr(owner, name, _wrapped(getattr(owner, name), point, control))

    return wrap


def _wrapped(function: Callable[..., Any], point: Point, control: Path) -> Callable[..., Any]:
    armed, fired = control / f"armed-{point.name}", control / f"fired-{point.name}"

    def reached(arguments: tuple[Any, ...]) -> None:
        if point.link and getattr(arguments[0], "task", "") != point.link:
            return
        taken = armed.with_name(f"taken-{point.name}-{os.getpid()}")
        with suppress(FileNotFoundError):
            armed.rename(taken)
            how = signal.Signals[taken.read_text()]
            taken.write_text(str(os.getpid()))
            taken.rename(fired)
            os.kill(os.getpid(), how)

    @wraps(function)
    def call(*arguments: Any, **named: Any) -> Any:
        if point.when == "before":
            reached(arguments)
        result = function(*arguments, **named)
        if point.when == "after":
            reached(arguments)
        return result

    return call


def _plant_clock(*jumps: Path) -> None:
    """Before anything of ours is imported, so that everybody who asks for the time asks here."""
    plain, plain_ns = time.time, time.time_ns

    def seconds() -> int:
        total = 0
        for jump in jumps:
            with suppress(OSError, ValueError):
                total += int(jump.read_text())
        return total

    time.time = lambda: plain() + seconds()
    time.time_ns = lambda: plain_ns() + seconds() * 1_000_000_000


if __name__ == "__main__":
    main(sys.argv[1:])

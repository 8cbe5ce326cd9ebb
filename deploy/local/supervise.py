"""Keeps a Procfile's processes alive: restarts what dies after a growing pause, and stops all in order.

honcho starts each process in a session of its own and reads its output; the policy is ours.
"""

import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from honcho.printer import Message
from honcho.process import Popen, Process

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 30.0
STOPPED = "stopped"
SETTLED_AFTER_S = 3.0
STEADY_AFTER_S = 30.0  # a process that lived this long starts again at the first pause


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One line of a Procfile: a single command (use `env NAME=value command` for variables of its own)."""

    name: str
    command: str
    stop_within_s: float = 10.0
    environment: Mapping[str, str] | None = None


@dataclass(slots=True)
class ProcessState:
    """The state of a process; `restart_at` is a time of the monotonic clock."""

    program: Program
    process: "_Held | None" = None
    child: "subprocess.Popen[bytes] | None" = None
    started_at: float = 0.0
    pause_s: float = FIRST_PAUSE_S
    restart_at: float | None = None
    restarts: int = 0
    ended: str = ""
    thread: threading.Thread | None = field(default=None, repr=False)

    @property
    def pid(self) -> int | None:
        return None if self.child is None else self.child.pid

    @property
    def well(self) -> bool:
        return self.child is not None or self.ended in ("", STOPPED)

    @property
    def settled(self) -> bool:
        """Up, and not only between two deaths."""
        lived_s = time.monotonic() - self.started_at
        return self.child is not None and (not self.restarts or lived_s > SETTLED_AFTER_S)

    @property
    def words(self) -> str:
        if self.child is not None:
            again = f", restarted {self.restarts}×" if self.restarts else ""
            return f"up{again}"
        if self.restart_at is not None:
            return f"{self.ended}, restarts in {max(0.0, self.restart_at - time.monotonic()):.0f} s"
        return self.ended or "not started"


class Supervisor:
    """Runs programs until `stop`. Belongs to one thread; `on_line` is called from the readers' threads."""

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        environment: Mapping[str, str],
        folder: str,
        on_line: Callable[[str, bytes], None],
        tell: Callable[[str], None],
    ) -> None:
        self.states = {program.name: ProcessState(program) for program in programs}
        self._environment = environment
        self._folder = folder
        self._on_line = on_line
        self._tell = tell
        # Not a SimpleQueue: in CPython 3.11 a signal may turn the timeout of its `get` into none at all.
        self._news: queue.Queue[Message] = queue.Queue()
        self._stopping = False

    def start(self, *names: str) -> None:
        """Start the programs of these names; returns as soon as the threads that hold them run."""
        for name in names:
            self._start(self.states[name])

    def poll(self, timeout_s: float) -> None:
        """Take in what happened to the processes, for at most `timeout_s`, and restart what is due."""
        with suppress(queue.Empty):
            self._take(self._news.get(timeout=timeout_s))
            while True:
                self._take(self._news.get_nowait())
        for state in self.states.values():
            if state.child is not None and state.child.poll() is not None:
                # Its children hold its output open and would keep the end from being seen.
                _kill_group(state.child.pid)
            if state.restart_at is not None and state.restart_at <= time.monotonic() and not self._stopping:
                state.restarts += 1
                self._start(state)

    def stop(self, *, hurry: Callable[[], bool] = lambda: False) -> list[str]:
        """Stop the programs one after the other, each within its own time before its group is killed.

        `hurry` is asked all the while: once true, nothing is waited for. Returns the names of those killed.
        """
        self._stopping = True
        return [s.program.name for s in self.states.values() if self._stop(s, hurry)]

    def pids(self) -> dict[str, int]:
        return {name: s.child.pid for name, s in self.states.items() if s.child is not None}

    def _start(self, state: ProcessState) -> None:
        program = state.program
        state.restart_at, state.started_at = None, time.monotonic()
        environment = {**self._environment, **(program.environment or {})}
        # exec: the pid that gets the signals is the program's own, not a shell's.
        state.process = _Held(f"exec {program.command}", name=program.name, env=environment, cwd=self._folder)
        state.thread = threading.Thread(
            target=self._hold,
            args=(program.name, state.process),
            name=f"holds-{program.name}",
            daemon=True,
        )
        state.thread.start()

    def _hold(self, name: str, process: "_Held") -> None:
        try:
            process.run(events=_Events(name, self._on_line, self._news))
        except OSError as why:
            # No memory or no process to be had: to the policy this is a death like any other.
            self._on_line(name, f"could not be started: {why}".encode())
            self._news.put(Message("stop", {"returncode": None}, None, name, None))

    def _take(self, message: Message) -> None:
        state = self.states[message.name]
        if message.type == "start":
            state.child = state.process.popen if state.process else None
            return
        state.child = None
        if self._stopping:
            state.ended = STOPPED
            return
        state.ended = _ended(message.data["returncode"])
        lived_s = time.monotonic() - state.started_at
        if lived_s > STEADY_AFTER_S:
            state.pause_s = FIRST_PAUSE_S
        state.restart_at = time.monotonic() + state.pause_s
        self._tell(
            f"{message.name} died ({state.ended}) after {lived_s:.0f} s; "
            f"restart {state.restarts + 1} follows in {state.pause_s:.1f} s"
        )
        state.pause_s = min(state.pause_s * 2, LONGEST_PAUSE_S)

    def _stop(self, state: ProcessState, hurry: Callable[[], bool]) -> bool:
        until = time.monotonic() + state.program.stop_within_s
        asked: int | None = None
        while state.thread is not None and (state.thread.is_alive() or state.child is not None):
            if state.child is not None and asked != state.child.pid:
                asked = state.child.pid
                state.child.send_signal(signal.SIGTERM)
            if time.monotonic() > until or hurry():
                self._kill(state)
                return True
            self.poll(0.05)
        state.restart_at = None
        return False

    def _kill(self, state: ProcessState) -> None:
        self._tell(f"{state.program.name} has not stopped by itself; killed")
        until = time.monotonic() + 5.0
        while state.child is not None and time.monotonic() < until:
            _kill_group(state.child.pid)
            self.poll(0.05)


class _Held(Process):  # type: ignore[misc]
    """honcho's process that lets its Popen be known, since signals through that cannot hit a reused pid."""

    popen: "subprocess.Popen[bytes] | None" = None

    def __init__(self, command: str, **options: Any) -> None:
        super().__init__(command, **options)
        self._child_ctor = self._popen

    def _popen(self, command: str, **options: Any) -> "subprocess.Popen[bytes]":
        self.popen = Popen(command, stdin=subprocess.DEVNULL, **options)
        return self.popen


class _Events:
    """honcho's queue: lines go on from the reader's thread, so that no backlog of them can build up."""

    def __init__(
        self, name: str, on_line: Callable[[str, bytes], None], news: "queue.Queue[Message]"
    ) -> None:
        self._name = name
        self._on_line = on_line
        self._news = news

    def put(self, message: Message) -> None:
        if message.type == "line":
            self._on_line(self._name, message.data)
        else:
            self._news.put(message)


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _ended(code: int | None) -> str:
    if code is None:
        return "could not start"
    return f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

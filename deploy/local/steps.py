"""What happens aside while a run starts: commands that end, servers that come to answer; each one timed."""

import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from deploy.local.logs import LogFiles, one_line

COMMAND_WITHIN_S = 120.0

T = TypeVar("T")


class StartFailed(RuntimeError):
    """The run cannot be; the message says what to do or where to read why."""


class Steps:
    """Every method returns at once. Nothing here outlives the moment when `stopping` turns true for long."""

    def __init__(self, folder: Path, *, logs: LogFiles, stopping: Callable[[], bool]) -> None:
        self.pool = ThreadPoolExecutor(10, thread_name_prefix="step")
        self._folder = folder
        self._logs = logs
        self._stopping = stopping

    def timed(self, name: str, future: "Future[T]") -> "Future[T]":
        """The same future, whose end is written to run.log with the seconds that it took."""
        began = time.monotonic()

        def write(done: "Future[T]") -> None:
            if not done.cancelled() and done.exception() is None and not self._stopping():
                self._logs.write("run", f"{name}: done after {time.monotonic() - began:.1f} s")

        future.add_done_callback(write)
        return future

    def command(self, name: str, argv: Sequence[str], environment: Mapping[str, str]) -> "Future[Any]":
        """Raises StartFailed, through the future, when the command's exit code is not 0."""
        return self.timed(" ".join(argv), self.pool.submit(self._command, name, argv, environment))

    def answers(self, name: str, url: str) -> "Future[Any]":
        """Done when the URL gives a 2xx."""
        return self.timed(name, self.pool.submit(self._answers, url))

    def happens(self, name: str, event: threading.Event) -> "Future[Any]":
        return self.timed(name, self.pool.submit(self._happens, event))

    def _command(self, name: str, argv: Sequence[str], environment: Mapping[str, str]) -> None:
        try:
            done = subprocess.run(
                argv,
                cwd=self._folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                timeout=COMMAND_WITHIN_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as problem:
            raise StartFailed(str(problem)) from problem
        lines = done.stdout.splitlines()
        for line in lines:
            self._logs.write(name, line)
        if done.returncode:
            said = " / ".join(one_line(line) for line in lines[-3:])
            raise StartFailed(f"`{' '.join(argv)}` failed ({self._logs.path(name)}): {said}")

    def _answers(self, url: str) -> None:
        # A proxy named in the environment has no business with a loopback address.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        while not self._stopping():
            with suppress(OSError), direct.open(url, timeout=5):
                return
            time.sleep(0.1)

    def _happens(self, event: threading.Event) -> None:
        while not event.wait(0.1) and not self._stopping():
            pass

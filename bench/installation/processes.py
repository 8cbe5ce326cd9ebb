"""Processes that a measurement starts: found by a mark in their environment, ended in their own time."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.places import ROOT
from deploy.local import leftovers

PATIENCE_S = 40.0


@dataclass(kw_only=True)
class Started:
    """Living processes by name. Logs lie in `folder`; `environment` goes to each, and so does the mark."""

    folder: Path
    mark: str
    environment: Mapping[str, str]
    _processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, command: str) -> None:
        """Start a line of a Procfile in a session of its own."""
        with (self.folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {command}"],
                cwd=ROOT,
                env=self._all(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def pid(self, name: str) -> int:
        return self._processes[name].pid

    def running(self) -> list[str]:
        return list(self._processes)

    def check(self) -> None:
        """Raises ChildProcessError naming a process that has ended by itself."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise ChildProcessError(f"{name} ended with {process.returncode}: {self.log_end(name)}")

    def log_end(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")[-2_000:]

    def stop(self, *names: str) -> None:
        """Ask the named processes, or all, to end; kill the group of one that does not."""
        chosen = {name: self._processes.pop(name) for name in names or list(self._processes)}
        for process in chosen.values():
            process.terminate()
        for process in chosen.values():
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)

    def run(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `python arguments` to its end. Raises ChildProcessError with what it said."""
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self._all(),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        if check and done.returncode:
            raise ChildProcessError(f"{shlex.join(arguments)} exited {done.returncode}: {done.stderr[-800:]}")
        return done

    def _all(self) -> dict[str, str]:
        ours = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_X")}
        scripts = str(Path(sys.executable).parent)
        return {
            **ours,
            "PATH": f"{scripts}{os.pathsep}{ours.get('PATH', os.defpath)}",
            "SPT_NOENV": "1",  # setproctitle must not write its titles over the mark
            leftovers.MARK: self.mark,
            **self.environment,
        }

"""The load generator's other end: starts `bench.load.process` and talks to it."""

import contextlib
import json
import select
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.load.posting import Target
from bench.load.workload import Kind
from bench.places import ROOT


class Generator:
    """One load process; one command at a time."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self.kind = Kind()

    @property
    def pid(self) -> int:
        return self._process.pid

    def prepare(self, kind: Kind, batches: int) -> None:
        """Have so many bodies of the kind ready; those of other kinds are forgotten."""
        self.kind = kind
        self._say(do="prepare", kind=asdict(kind), batches=batches)
        self._answer()

    def post(
        self,
        targets: list[Target],
        *,
        connections: int,
        batches: int | None = None,
        seconds: float | None = None,
        events_per_s: float | None = None,
        headroom: int | None = None,
        repeat: bool = False,
        honours: bool = True,
    ) -> None:
        """Begin to post to the targets in turn; `headroom` bounds the events accepted and not committed.

        With `repeat` the bodies are posted in a circle, for those who do not look at them. Without
        `honours`, what is refused is forgotten and the next batch goes at once.
        """
        self._say(
            do="post",
            targets=[asdict(target) for target in targets],
            connections=connections,
            batches=batches,
            seconds=seconds,
            events_per_s=events_per_s,
            headroom=headroom,
            repeat=repeat,
            honours=honours,
        )

    def committed(self, events: int) -> None:
        """Say how many events of this run are through."""
        self._say(committed=events)

    def stop(self) -> None:
        """Send nothing new; the answer comes when all that was sent is answered."""
        self._say(do="stop")

    def answered(self, timeout_s: float) -> dict[str, Any] | None:
        """The result of the run, or None when it is not over within the timeout."""
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], timeout_s)
        return self._answer() if ready else None

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ChildProcessError(f"the load generator ended with {self._process.wait(10)}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _say(self, **said: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(said) + "\n")
        self._process.stdin.flush()


@contextlib.contextmanager
def running(*, nice: int = 0) -> Iterator[Generator]:
    """A generator, which ends when its input does.

    `nice` is its niceness: one that stands for other machines must not take the time of what is measured.
    """
    process = subprocess.Popen(
        ["nice", "-n", str(nice), sys.executable, "-m", "bench.load.process"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    # Where the kernel shares the processors out by session (sched(7), "The autogroup feature").
    with contextlib.suppress(OSError):
        Path(f"/proc/{process.pid}/autogroup").write_text(str(nice))
    try:
        yield Generator(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.terminate()
        process.wait(10)

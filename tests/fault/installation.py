"""A whole with fault points, under a supervisor that starts again what dies, as `make run` does."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGTERM, Signals

from sqlalchemy import Engine, create_engine, text

import db.customers.rows
from deploy.local.processes import Process, of
from tests.fault.points import BY_NAME
from tests.receiver import listens_for_operators
from tests.whole import ROOT, Whole, until

RESTART_S = 0.5  # as `make run` waits before it starts again what has died
CUSTOMERS_AT_ONCE = 8
MOVED = 30  # batches
LATER = {"FAULT_RELEASE": "later"}  # the environment of a process of a later release


@dataclass(frozen=True, kw_only=True)
class Spec:
    """How a process is started, each time."""

    role: str
    extra: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Installation:
    """Receiver, dispatcher and worker, and more of them on request; `control` is the launcher's folder."""

    whole: Whole
    control: Path
    engine: Engine
    specs: dict[str, Spec] = field(default_factory=dict)
    restarts: int = 0
    _seen: set[Process] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _closed: threading.Event = field(default_factory=threading.Event)
    _stock: list[tuple[str, str]] = field(default_factory=list)
    _supervisor: threading.Thread | None = None

    def start(self, name: str, role: str | None = None, *extra: str, **environment: str) -> None:
        """Start a process and keep it running from now on."""
        with self._lock:
            self.specs[name] = Spec(role=role or name, extra=extra, environment=environment)
            self._start(name)

    def retire(self, name: str, signum: Signals = SIGTERM) -> int:
        """End a process for good; returns its exit status."""
        with self._lock:
            del self.specs[name]
            process = self.whole.processes.pop(name)
        self._remember(process.pid)
        process.send_signal(signum)
        return process.wait(60)

    def signal(self, name: str, signum: Signals) -> int:
        """Signal one process, not its children; returns its pid."""
        with self._lock:
            pid = self.whole.processes[name].pid
        self.kill(pid, signum)
        return pid

    def kill(self, pid: int, signum: Signals = SIGKILL) -> None:
        """Signal one of our processes by its pid, and remember it and its children."""
        self._remember(pid)
        os.kill(pid, signum)

    def children(self, name: str) -> list[int]:
        """Gunicorn's workers, Celery's prefork children."""
        pid = self.whole.processes[name].pid
        found = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        # The receiver has one more, which serves the operators.
        return [child for child in found if not listens_for_operators(child)]

    def arm(self, point: str, how: Signals) -> None:
        """The next process that reaches the point sends itself this signal."""
        assert point in BY_NAME
        (self.control / f"fired-{point}").unlink(missing_ok=True)
        new = self.control / "new"
        new.write_text(how.name)
        new.rename(self.control / f"armed-{point}")

    def fired(self, point: str) -> int:
        """Wait until a process has reached the armed point; returns its pid."""
        file = self.control / f"fired-{point}"
        until(file.exists, f"a process to reach {point}")
        return int(file.read_text())

    def jump(self, seconds: int, role: str = "") -> None:
        """Set the wall clock of all our processes, or of those of one role as if on a host of their own,
        so far forward; 0: back to the machine's.
        """
        new = self.control / "new"
        new.write_text(str(seconds))
        new.rename(self.control / (f"clock-{role}" if role else "clock"))

    def superseded(self, pid: int) -> None:
        """Wait until other dispatchers have all customers of this one, and have recorded windows since."""

        def number(query: str) -> int:
            with self.engine.connect() as conn:
                return int(conn.execute(text(query), {"holder": f"%:{pid}:%"}).scalar_one())

        held = "SELECT count(*) FROM dispatch WHERE holder LIKE :holder"
        until(lambda: number(held) == 0, "another dispatcher to take over")
        passed = "SELECT coalesce(sum(next_offset), 0) FROM dispatch WHERE :holder <> ''"
        before = number(passed)
        until(lambda: number(passed) > before + MOVED, "the other dispatcher to record windows")

    def customers(self, count: int) -> dict[str, str]:
        """So many customers that nobody has used before, with their keys.

        Every second one's process stage has a queue of its own: its windows' events travel in messages, those
        of the others stay in the process that decodes them.
        """
        while len(self._stock) < count:
            slugs = [f"f-{os.urandom(6).hex()}" for _ in range(CUSTOMERS_AT_ONCE)]
            command = [sys.executable, "-m", "bench.installation.customers", *slugs]
            done = subprocess.run(
                command, cwd=ROOT, env=self.whole.environment, stdout=subprocess.PIPE, check=True, timeout=120
            )
            self._stock += json.loads(done.stdout).items()
            with self.engine.begin() as connection:
                for slug in slugs[1::2]:
                    customer = db.customers.rows.get(connection, slug)
                    assert customer is not None
                    db.customers.rows.set_route(connection, customer.id, "process", f"process-{slug}")
        taken, self._stock = self._stock[:count], self._stock[count:]
        return dict(taken)

    def supervise(self) -> None:
        self._supervisor = threading.Thread(target=self._watch, name="supervisor", daemon=True)
        self._supervisor.start()

    def close(self) -> None:
        """Stop everything, also what lost its parent."""
        self._closed.set()
        if self._supervisor is not None:
            self._supervisor.join()
        for started in self.whole.processes.values():
            self._remember(started.pid)
        for process in self._seen:
            with contextlib.suppress(ProcessLookupError):
                if process.alive():
                    os.kill(process.pid, SIGCONT)
        self.whole.stop()
        for process in self._seen:
            if process.alive():
                os.kill(process.pid, SIGKILL)
        self.engine.dispose()

    def _start(self, name: str) -> None:
        spec = self.specs[name]
        self.whole.start(name, *spec.extra, role=spec.role, **spec.environment)

    def _watch(self) -> None:
        while not self._closed.wait(RESTART_S):
            with self._lock:
                for name in self.specs:
                    if self.whole.processes[name].poll() is not None:
                        self._start(name)
                        self.restarts += 1

    def _remember(self, pid: int) -> None:
        """A process and its children, by their start times: only these are ended, whatever has their pids."""
        children: list[int] = []
        with contextlib.suppress(OSError):
            text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
            children = [int(child) for child in text.split()]
        for one in (pid, *children):
            if process := of(one):
                self._seen.add(process)


@contextlib.contextmanager
def installed(
    folder: Path,
    *,
    database_url: str,
    amqp_url: str,
    stream_url: str,
    later: Collection[str] = (),
    own: Mapping[str, Mapping[str, str]] | None = None,
    **settings: str,
) -> Iterator[Installation]:
    """An installation that is up, and gone afterwards. The roles in `later` are of a later release; `own` are
    settings of single roles.
    """
    control = folder / "control"
    control.mkdir(parents=True)

    def launcher(role: str) -> tuple[str, ...]:
        return ("-m", "tests.fault.launch", str(control), role)

    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    environment |= {"DATABASE_URL": database_url, "BROKER_URL": amqp_url, "STREAM_URL": stream_url} | settings
    whole = Whole(folder=folder, environment=environment, launcher=launcher)
    found = Installation(whole=whole, control=control, engine=create_engine(database_url, pool_pre_ping=True))
    try:
        for role in ("receiver", "dispatcher", "worker"):
            named = ["-n", f"worker-{whole.port}@%h"] if role == "worker" else []
            found.start(role, None, *named, **(LATER if role in later else {}), **(own or {}).get(role, {}))
        until(whole.ready, "the receiver to be ready")
        found.supervise()
        yield found
    finally:
        found.close()


def wait_gone(pid: int, what: str) -> float:
    """Wait until a process is gone; returns the seconds that it took."""
    began = time.monotonic()
    until(lambda: of(pid) is None, f"{what} to end")
    return time.monotonic() - began

"""The whole of Sluice as its users run it: real processes against a real broker and a real database."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest.mock import patch

from deploy.local import ports
from webapp import create_app

ROOT = Path(__file__).resolve().parent.parent
DEADLINE_S = 120.0

COMMANDS = {
    "receiver": ["-m", "gunicorn", "-c", "python:webapp.gunicorn", "webapp:create_app()"],
    "dispatcher": ["-m", "tasks.dispatcher"],
    "flower": ["-m", "celery", "-A", "tasks", "flower", "--address=127.0.0.1"],
    "poisoned": ["-m", "tests.poisoned", "worker", "-c", "2", "--without-gossip", "--without-mingle"],
    "worker": ["-m", "celery", "-A", "tasks", "worker", "-c", "2", "--without-gossip", "--without-mingle"],
}


def until(condition: Callable[[], Any], what: str, *, deadline_s: float = DEADLINE_S) -> Any:
    """Poll `condition` until it is true and return its value; fail naming `what` after `deadline_s`."""
    end = time.monotonic() + deadline_s
    while not (value := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"still waiting after {deadline_s:.0f} s for {what}")
        time.sleep(0.1)
    return value


@dataclass(frozen=True, kw_only=True)
class HttpAnswer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(kw_only=True)
class Whole:
    """A receiver, a dispatcher and a worker; more of each on request. Logs lie in `folder`."""

    folder: Path
    environment: dict[str, str]
    port: int = field(init=False)
    operators_port: int = field(init=False)
    launcher: Callable[[str], Sequence[str]] = lambda role: ()  # what python is told before the command
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.port, self.operators_port = ports.free(2)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(
        self, name: str, *extra: str, role: str | None = None, **environment: str
    ) -> subprocess.Popen[bytes]:
        """Start one process by its role; it lives in a session of its own."""
        role = role or name
        command = [sys.executable, *self.launcher(role), *COMMANDS[role], *extra]
        log = (self.folder / f"{name}.log").open("ab")
        process = subprocess.Popen(
            command,
            cwd=ROOT,
            env=self.environment
            | {
                "SLUICE_HTTP_BIND": f"127.0.0.1:{self.port}",
                "SLUICE_HTTP_METRICS_BIND": f"127.0.0.1:{self.operators_port}",
                "SLUICE_TASK_DISPATCHER_METRICS_BIND": "",
                "SLUICE_TASK_WORKER_METRICS_BIND": "",
            }
            | environment,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        self.processes[name] = process
        return process

    def start_all(self, *, worker: str = "worker") -> None:
        """`worker`: the role of the one worker."""
        for name in ("receiver", "dispatcher"):
            self.start(name)
        self.start("worker", "-n", f"worker-{self.port}@%h", role=worker)
        until(self.ready, "the receiver to be ready")

    def ready(self) -> bool:
        with contextlib.suppress(OSError):
            return self.get("/readyz").status == 200
        return False

    def kill(self, name: str, signum: signal.Signals = signal.SIGKILL) -> None:
        """Signal a process, and with SIGKILL its whole group: children die with their parent."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signum) if signum == signal.SIGKILL else process.send_signal(signum)
        process.wait(DEADLINE_S)

    def stop(self) -> None:
        for name in ("receiver", "dispatcher", *self.processes):
            if name in self.processes and self.processes[name].poll() is None:
                self.processes[name].terminate()
        for process in self.processes.values():
            try:
                process.wait(40)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(10)
        self.processes.clear()

    def flask(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a `flask` command in this process: to start another takes a second, and tests poll."""
        with patch.dict(os.environ, self.environment, clear=True):
            app = create_app()
            done = app.test_cli_runner(catch_exceptions=False).invoke(args=list(arguments))
        app.extensions["sluice"].close()
        named = ["flask", *arguments]
        return _checked(subprocess.CompletedProcess(named, done.exit_code, done.stdout, done.stderr), check)

    def command(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a `flask` command as an operator would, in a process of its own."""
        command = [sys.executable, "-m", "flask", "--app", "webapp", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=DEADLINE_S
        )
        return _checked(done, check)

    def add_customer(self, slug: str) -> str:
        """A new customer; returns its key."""
        path = self.folder / f"{slug}.key"
        self.flask("customers", "add", slug, "--key-file", str(path))
        return path.read_text().strip()

    def get(self, path: str) -> HttpAnswer:
        return self._send(urllib.request.Request(self.url + path))

    def metrics(self) -> str:
        """The receiver's metrics, from the operators' address."""
        return self._send(
            urllib.request.Request(f"http://127.0.0.1:{self.operators_port}/metrics")
        ).body.decode()

    def post(self, path: str, body: bytes, headers: Mapping[str, str]) -> HttpAnswer:
        return self._send(
            urllib.request.Request(self.url + path, data=body, headers=dict(headers), method="POST")
        )

    def post_batch(self, key: str, body: bytes, **headers: str) -> HttpAnswer:
        """Post NDJSON unless the headers (`Content_Type` for Content-Type) say otherwise."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        defaults = {"Authorization": f"Bearer {key}", "Content-Type": "application/x-ndjson"}
        return self.post("/v1/batches", body, defaults | named)

    def books(self, slug: str) -> Any:
        """The customer's books as JSON, balanced or not."""
        return json.loads(self.flask("books", "--customer", slug, "--json", check=False).stdout)

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def _send(self, request: urllib.request.Request) -> HttpAnswer:
        try:
            with urllib.request.urlopen(request, timeout=30) as reply:
                return HttpAnswer(status=reply.status, headers=dict(reply.headers), body=reply.read())
        except urllib.error.HTTPError as error:
            with error:
                return HttpAnswer(status=error.code, headers=dict(error.headers), body=error.read())


def _checked(done: subprocess.CompletedProcess[str], check: bool) -> subprocess.CompletedProcess[str]:
    if check and done.returncode:
        raise AssertionError(f"{done.args} exited {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done


@contextlib.contextmanager
def running(
    folder: Path,
    *,
    database_url: str,
    amqp_url: str,
    stream_url: str,
    worker: str = "worker",
    **settings: str,
) -> Iterator[Whole]:
    """A whole that is up, and gone afterwards."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}
    environment |= {"DATABASE_URL": database_url, "BROKER_URL": amqp_url, "STREAM_URL": stream_url} | settings
    whole = Whole(folder=folder, environment=environment)
    try:
        whole.start_all(worker=worker)
        yield whole
    finally:
        whole.stop()

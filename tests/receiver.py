"""A receiver as an operator runs it: gunicorn in processes of its own, on a free port."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import httpx
from sqlalchemy import Engine

import db.customers.rows
from db.customers import public_keys
from db.customers.public_keys import KeyRules
from db.engine import begin, connect
from db.settings import DatabaseSettings
from deploy.local import ports
from deploy.local.rabbitmq import RabbitNode
from streams import Broker, Envelope, StreamSettings, decode_envelope, raw
from streams.settings import MIB, RetentionSettings
from webapp.terminal.new_customer import create

ROOT = Path(__file__).resolve().parent.parent
DEADLINE_S = 60.0
RETENTION = RetentionSettings(
    raw_bytes=64 * MIB, raw_segment_bytes=16 * MIB, processed_bytes=64 * MIB, processed_segment_bytes=16 * MIB
)


def until(condition: Callable[[], Any], what: str, *, deadline_s: float = DEADLINE_S) -> Any:
    """Poll `condition` until it is true and return its value; fail naming `what` after `deadline_s`."""
    end = time.monotonic() + deadline_s
    while not (value := condition()):
        assert time.monotonic() < end, f"still waiting after {deadline_s:.0f} s for {what}"
        time.sleep(0.05)
    return value


@dataclass(frozen=True, kw_only=True)
class Home:
    """A migrated database and a broker, as the receiver and this process see them."""

    environment: Mapping[str, str]
    engine: Engine
    broker: Broker

    def add(self, slug: str) -> str:
        """A new customer; returns its key."""
        key = create(self.engine, self.broker, RETENTION, slug).key
        assert key is not None
        return key

    def add_public_key(self, slug: str, **rules: Any) -> str:
        """One more key of the customer, with these rules."""
        with begin(self.engine) as connection:
            customer = db.customers.rows.get(connection, slug)
            assert customer is not None
            return public_keys.issue(connection, customer.id, KeyRules(**rules))

    def state(self, slug: str, state: db.customers.rows.CustomerState) -> None:
        with begin(self.engine) as connection:
            customer = db.customers.rows.get(connection, slug)
            assert customer is not None
            db.customers.rows.set_state(connection, customer.id, state)

    def limit(self, slug: str, **limits: int | None) -> int:
        """Set limits by their names in `db.customers.rows.Limit`; returns the customer's id."""
        with begin(self.engine) as connection:
            customer = db.customers.rows.get(connection, slug)
            assert customer is not None
            db.customers.rows.set_limits(
                connection, customer.id, cast("dict[db.customers.rows.Limit, int | None]", limits)
            )
        return customer.id

    def envelopes(self, slug: str, first: int = 0) -> list[Envelope]:
        """All that is in the customer's raw stream, from that offset on."""
        last = self.broker.last_offset(raw(slug), deadline_s=DEADLINE_S)
        if last is None:
            return []
        messages = self.broker.read(raw(slug), first, last, deadline_s=DEADLINE_S)
        return [decode_envelope(message.data) for message in messages]


@contextlib.contextmanager
def home(database_url: str, node: RabbitNode) -> Iterator[Home]:
    engine = connect(DatabaseSettings(url=database_url))
    broker = Broker(StreamSettings(url=node.stream_url, broker_url=node.amqp_url))
    environment = {"DATABASE_URL": database_url, "BROKER_URL": node.amqp_url, "STREAM_URL": node.stream_url}
    try:
        yield Home(environment=environment, engine=engine, broker=broker)
    finally:
        broker.close()
        engine.dispose()


def agents() -> httpx.Client:
    """A client that threads may share.

    With a bound of idle connections, httpcore closes one that it has given to another thread a moment before:
    that thread's request fails with a bad file descriptor, once in some thousands.
    """
    return httpx.Client(timeout=60, trust_env=False, limits=httpx.Limits())


@dataclass(kw_only=True)
class Receiver:
    """One gunicorn master with its workers; `log` is its stderr."""

    port: int
    operators_port: int
    process: subprocess.Popen[bytes]
    log: Path
    client: httpx.Client = field(default_factory=agents)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def get(self, path: str) -> httpx.Response:
        return self.client.get(self.url + path)

    def operators(self, path: str) -> httpx.Response:
        """Get a path of the operators' address."""
        return httpx.get(f"http://127.0.0.1:{self.operators_port}{path}", timeout=60, trust_env=False)

    def metrics(self) -> str:
        return self.operators("/metrics").text

    def post(self, key: str | None, body: Any, path: str = "/v1/batches", **headers: str) -> httpx.Response:
        """Post NDJSON unless the headers (`content_type` for Content-Type) say else."""
        sent = {"content-type": "application/x-ndjson"}
        if key is not None:
            sent["authorization"] = f"Bearer {key}"
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        return self.client.post(self.url + path, content=body, headers=sent)

    def ready(self) -> bool:
        with contextlib.suppress(httpx.TransportError):
            return self.get("/readyz").status_code == 200
        return False

    def workers(self) -> list[int]:
        """Pids of the worker processes."""
        return [pid for pid in self._children() if not listens_for_operators(pid)]

    def listener(self) -> int | None:
        """Pid of the process that serves the operators."""
        return next((pid for pid in self._children() if listens_for_operators(pid)), None)

    def _children(self) -> list[int]:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def logged(self, event: str) -> list[dict[str, Any]]:
        lines = self.log.read_text().splitlines()
        records = [json.loads(line) for line in lines if line.startswith("{")]
        return [record for record in records if record.get("event") == event]


@contextlib.contextmanager
def running(
    folder: Path,
    environment: Mapping[str, str],
    *,
    ready: bool = True,
    log: Path | None = None,
    within: Sequence[str] = (),
) -> Iterator[Receiver]:
    """A receiver that is ready (or was only started, when `ready` is false), and gone afterwards.

    `log` takes its output in place of a file in the folder; `within`: a command that becomes the receiver.
    """
    port, operators_port = ports.free(2)
    settings = {
        "SLUICE_HTTP_BIND": f"127.0.0.1:{port}",
        "SLUICE_HTTP_METRICS_BIND": f"127.0.0.1:{operators_port}",
    }
    log = log or folder / f"receiver-{port}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [
                *within,
                sys.executable,
                "-m",
                "gunicorn",
                "-c",
                "python:webapp.gunicorn",
                "webapp:create_app()",
            ],
            cwd=ROOT,
            env={**bare_environment(), **settings, **environment},
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    receiver = Receiver(port=port, operators_port=operators_port, process=process, log=log)
    try:
        if ready:
            until(receiver.ready, f"the receiver ({log})")
        yield receiver
    finally:
        receiver.client.close()
        stop(process)


def bare_environment() -> dict[str, str]:
    """This process's environment without settings of Sluice."""
    return {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}


def flask(environment: Mapping[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a `flask` command as an operator does; its exit code is the caller's to look at."""
    return subprocess.run(
        [sys.executable, "-m", "flask", *arguments],
        cwd=ROOT,
        env={**bare_environment(), **environment},
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )


def listens_for_operators(pid: int) -> bool:
    """Whether the process serves the operators, and is no worker."""
    try:
        return b"operators.listener" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):  # it ended before it was opened or read
        return False


@contextlib.contextmanager
def frozen(pid: int) -> Iterator[None]:
    """The process and all of its threads stand still; they go on at the end."""
    os.kill(pid, signal.SIGSTOP)
    try:
        until(lambda: stands_still(pid), "all threads of the process to stop")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def stands_still(pid: int) -> bool:
    threads = Path(f"/proc/{pid}/task").glob("*/stat")
    try:
        return all(thread.read_text().rpartition(")")[2].split()[0] == "T" for thread in threads)
    except (FileNotFoundError, ProcessLookupError):  # a thread has just ended: others may run yet
        return False


def stop(process: subprocess.Popen[bytes], *, within_s: float = 40.0) -> None:
    """End a process that leads a session of its own; one that is slower is killed, with all of its group."""
    process.terminate()
    try:
        process.wait(within_s)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)
